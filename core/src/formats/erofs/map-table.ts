/** How many bytes behind an inode its map takes: a table of chunks, an index of clusters, records of extents. */
import { alignUp } from "../../bytes/index.ts";
import { CHUNK_BITS_MASK, CHUNK_INDEXES, RawChunkAddress, RawChunkIndex } from "./format.ts";
import { RawExtentsStart, RawMapHeader } from "./format-compressed.ts";
import { indexRegions } from "./index-window.ts";
import type { ErofsInode } from "./inode.ts";
import { readMapHeader } from "./map.ts";
import { chunkTableStart } from "./map-flat.ts";
import { mapHeaderStart } from "./map-header.ts";
import type { Volume } from "./volume.ts";

export interface MapTable {
  readonly kind: "chunk tables" | "cluster maps";
  /** Bytes from the start of the image, or of the metabox. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
}

/** Undefined for layouts without one. Throws what {@link readMapHeader} throws. */
export async function mapTableOf(volume: Volume, inode: ErofsInode): Promise<MapTable | undefined> {
  if (inode.layout === "flat-plain" || inode.layout === "flat-inline") return undefined;
  const { blockSize } = volume.superblock;
  if (inode.layout === "chunk-based") {
    const unit = (inode.u & CHUNK_INDEXES) !== 0 ? RawChunkIndex.size : RawChunkAddress.size;
    const count = Math.ceil(inode.size / (blockSize * 2 ** (inode.u & CHUNK_BITS_MASK)));
    return { kind: "chunk tables", start: chunkTableStart(inode), size: count * unit };
  }
  if (inode.size === 0) return undefined;
  const start = mapHeaderStart(inode);
  const table = (end: number): MapTable => ({ kind: "cluster maps", start, size: end - start });
  const map = await readMapHeader(volume, inode);
  if (map.kind === "fragment") return table(start + RawMapHeader.size);
  if (map.kind === "encoded") {
    const first = map.recordSize > 4 ? map.start : map.start + RawExtentsStart.size;
    return table(first + map.count * map.recordSize);
  }
  const last = indexRegions(map, Math.ceil(inode.size / 2 ** map.clusterBits), Math.ceil(inode.size / blockSize)).at(
    -1,
  );
  if (last === undefined) return table(map.start);
  // The last pack is there in whole.
  return table(last.start + alignUp(last.end - last.first, last.pack.entries) * (last.pack.size / last.pack.entries));
}
