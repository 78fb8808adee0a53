/** Extents of any inode, checked against the bounds that hold for all of them. */
import { FormatError } from "../../errors/index.ts";
import { finish, readSteps, type Steps } from "../../source/index.ts";
import { type Extent, fragmentExtent, isCompression } from "./extent.ts";
import { MAX_CLUSTER_CONTENT, MAX_CLUSTER_SIZE, RawMapHeader } from "./format-compressed.ts";
import type { ErofsInode } from "./inode.ts";
import { encodedExtents } from "./map-encoded.ts";
import { chunkExtents, flatExtents } from "./map-flat.ts";
import { type CompressedMap, mapHeaderStart, parseMapHeader } from "./map-header.ts";
import { indexExtents, tooLarge } from "./map-index.ts";
import { showNid } from "./superblock.ts";
import { deviceOf, type Volume } from "./volume.ts";

/** Throws FormatError, UnsupportedError `cluster-size`. */
function* mapHeaderSteps(volume: Volume, inode: ErofsInode): Steps<never, CompressedMap> {
  const start = mapHeaderStart(inode);
  const metadata = volume.metadataOf(inode);
  if (start + RawMapHeader.size > metadata.size)
    throw new FormatError("data-out-of-range", `the map of inode ${showNid(inode.nid)} lies outside the image`, {
      offset: start,
    });
  return parseMapHeader(yield* readSteps(metadata, start, RawMapHeader.size), inode, volume.superblock);
}

/** Reads the map header of a compressed inode. Throws FormatError, UnsupportedError `cluster-size`. */
export function readMapHeader(volume: Volume, inode: ErofsInode): Promise<CompressedMap> {
  return finish(mapHeaderSteps(volume, inode));
}

/**
 * The extents of an inode's content in order, from the one that holds byte `from` on: together, from the start, they are
 * as long as the inode says. Nothing of the data is read. Throws FormatError `bad-map`, `bad-index`, `bad-extents`,
 * `bad-extent`, `bad-device`, `cluster-too-large`, `data-out-of-range` or `inline-crosses-block`; UnsupportedError
 * `chunk-format`, `cluster-size` or `erofs-algorithm`.
 */
export function* extentSteps(volume: Volume, inode: ErofsInode, from = 0): Steps<Extent> {
  if (from >= inode.size) return;
  if (inode.layout === "flat-plain" || inode.layout === "flat-inline") {
    for (const extent of flatExtents(volume, inode)) if (extent.at + extent.size > from) yield extent;
  } else if (inode.layout === "chunk-based") {
    yield* chunkExtents(volume, inode, from);
  } else {
    const map = yield* mapHeaderSteps(volume, inode);
    if (map.kind === "fragment") yield fragmentExtent(0, inode.size, map.start);
    else
      for (const step of map.kind === "encoded"
        ? encodedExtents(volume, inode, map, from)
        : indexExtents(volume, inode, map, from)) {
        if (!(step instanceof Promise)) checkCluster(volume, inode, step);
        yield step;
      }
  }
}

/** Bounds of an extent of a compressed inode, of which mkfs.erofs and the kernel know. */
function checkCluster({ superblock }: Volume, { nid }: ErofsInode, extent: Extent): void {
  const { encoding, at, size, start, storedSize } = extent;
  if (encoding === "hole" || encoding === "fragment") return;
  const where = (): string => `inode ${showNid(nid)}`;
  if (storedSize > MAX_CLUSTER_SIZE) throw tooLarge(where(), storedSize, MAX_CLUSTER_SIZE);
  if (size > MAX_CLUSTER_CONTENT) throw tooLarge(where(), size, MAX_CLUSTER_CONTENT);
  if (isCompression(encoding)) {
    if (!superblock.algorithms.includes(encoding))
      throw new FormatError("bad-algorithm", `${where()} is compressed by ${encoding}, which the image does not name`, {
        offset: start,
      });
  } else if (size > storedSize)
    throw new FormatError("bad-extent", `${size} bytes at ${at} of ${where()} are said to fill ${storedSize}`, {
      offset: start,
    });
}

/** Refuses what does not lie in its space. Throws FormatError `data-out-of-range`, UnsupportedError `erofs-device`. */
export function checkRange(volume: Volume, inode: ErofsInode, extent: Extent): void {
  if (extent.space !== "device" && extent.space !== "metabox") return;
  const space = extent.space === "device" ? deviceOf(volume, extent, inode.nid) : volume.metadataOf(inode);
  if (extent.start + extent.storedSize <= space.size) return;
  throw new FormatError("data-out-of-range", `data of inode ${showNid(inode.nid)} lies outside the image`, {
    offset: extent.start,
  });
}
