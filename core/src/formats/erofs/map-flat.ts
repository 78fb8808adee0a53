/** Extents of inodes without compression: runs of blocks, inline tails, tables of chunks. */
import { alignUp } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { readSteps, type Steps } from "../../source/index.ts";
import { type Extent, holeExtent, plainExtent } from "./extent.ts";
import {
  CHUNK_48BIT,
  CHUNK_BITS_MASK,
  CHUNK_INDEXES,
  CHUNK_KNOWN_BITS,
  NULL_BLOCK,
  RawChunkAddress,
  RawChunkIndex,
} from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import type { Volume } from "./volume.ts";

/** At most two. Throws FormatError `inline-crosses-block`. */
export function flatExtents(volume: Pick<Volume, "superblock" | "place">, inode: ErofsInode): Extent[] {
  const { blockSize } = volume.superblock;
  const { size, position, isInMetabox } = inode;
  if (size === 0) return [];
  if (inode.isHole) return [holeExtent(0, size)];
  const inlineBlocks = inode.layout === "flat-inline" ? 1 : 0;
  const blocksSize = (Math.ceil(size / blockSize) - inlineBlocks) * blockSize; // as the kernel counts
  const extents: Extent[] = [];
  if (blocksSize > 0) extents.push(volume.place(plainExtent(0, Math.min(size, blocksSize), inode.u * blockSize)));
  if (inlineBlocks > 0) {
    const start = position + inode.inodeSize + inode.xattrSize;
    const tail = size - blocksSize;
    refuseCrossing(start, tail, blockSize, inode);
    const extent = plainExtent(blocksSize, tail, start);
    extents.push({ ...extent, isInline: true, space: isInMetabox ? "metabox" : "device" });
  }
  return extents;
}

/** What stands in the metadata must share no two blocks: the kernel maps one. */
export function refuseCrossing(start: number, size: number, blockSize: number, { nid }: ErofsInode): void {
  if (Math.floor(start / blockSize) !== Math.floor((start + size - 1) / blockSize))
    throw new FormatError("inline-crosses-block", `inline data of inode ${nid} crosses a block boundary`, {
      offset: start,
    });
}

/** Entries of a chunk table that are read at once. */
const BATCH = 512;

/** Chunks of equal size, each with a block address; from the one that holds `from` on. */
export function* chunkExtents(volume: Volume, inode: ErofsInode, from: number): Steps<Extent> {
  const { blockSize } = volume.superblock;
  const { nid, size, u: format } = inode;
  if ((format & 0xffff & ~CHUNK_KNOWN_BITS) !== 0)
    throw new UnsupportedError("chunk-format", `chunk format 0x${format.toString(16)} of inode ${nid}`, {
      offset: inode.position,
    });
  const chunkSize = blockSize * 2 ** (format & CHUNK_BITS_MASK);
  const hasIndexes = (format & CHUNK_INDEXES) !== 0;
  const isLong = hasIndexes && (format & CHUNK_48BIT) !== 0;
  const unit = hasIndexes ? RawChunkIndex.size : RawChunkAddress.size;
  const count = Math.ceil(size / chunkSize);
  const table = chunkTableStart(inode);
  const metadata = volume.metadataOf(inode);
  if (table + count * unit > metadata.size)
    throw new FormatError("data-out-of-range", `chunk table of inode ${nid} lies outside the image`, { offset: table });
  for (let first = Math.floor(from / chunkSize); first < count; first += BATCH) {
    const batch = Math.min(BATCH, count - first);
    const entries = yield* readSteps(metadata, table + first * unit, batch * unit);
    for (let i = 0; i < batch; i++) {
      const at = (first + i) * chunkSize;
      const length = Math.min(chunkSize, size - at);
      const { block, device } = hasIndexes ? chunkIndex(entries, i, isLong) : chunkAddress(entries, i);
      if (block === undefined) yield holeExtent(at, length);
      else yield volume.place({ ...plainExtent(at, length, block * blockSize), device });
    }
  }
}

/** Bytes from the start of the image, or of the metabox. */
export function chunkTableStart({ position, inodeSize, xattrSize, u }: ErofsInode): number {
  return alignUp(
    position + inodeSize + xattrSize,
    (u & CHUNK_INDEXES) !== 0 ? RawChunkIndex.size : RawChunkAddress.size,
  );
}

function chunkAddress(entries: Uint8Array, i: number): { block: number | undefined; device: number } {
  const { block } = RawChunkAddress.view(entries, i * RawChunkAddress.size);
  return { block: block === NULL_BLOCK ? undefined : block, device: 0 };
}

function chunkIndex(entries: Uint8Array, i: number, isLong: boolean): { block: number | undefined; device: number } {
  const { block, blockHi, deviceId } = RawChunkIndex.view(entries, i * RawChunkIndex.size);
  const isNull = block === NULL_BLOCK && (!isLong || blockHi === 0xffff);
  return { block: isNull ? undefined : block + (isLong ? blockHi * 2 ** 32 : 0), device: deviceId };
}
