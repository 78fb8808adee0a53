/** Where the bytes of an inode lie, and a Source over them. */
import { alignUp } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { assertRange, type Piece, piecewiseSource, type Source, sliceSource } from "../../source/index.ts";
import { CHUNK_BITS_MASK, CHUNK_INDEXES, NULL_BLOCK, RawChunkAddress, RawChunkIndex } from "./format.ts";
import type { ErofsImage, ErofsInode } from "./read.ts";

/** A run of an inode's data in the image, both in bytes. */
export interface DataRun {
  /** From the start of the data. */
  readonly at: number;
  /** From the start of the image. */
  readonly start: number;
  readonly size: number;
}

/** Runs of an inode with flat layout. Throws FormatError `data-out-of-range` or `inline-crosses-block`. */
export function flatRuns({ superblock, source }: ErofsImage, inode: ErofsInode): DataRun[] {
  const { blockSize } = superblock;
  const { size, nid, position } = inode;
  if (size === 0) return [];
  const inlineBlocks = inode.layout === "flat-inline" ? 1 : 0;
  const blocksSize = (Math.ceil(size / blockSize) - inlineBlocks) * blockSize; // as the kernel counts
  const runs: DataRun[] = [];
  if (blocksSize > 0) runs.push({ at: 0, start: inode.u * blockSize, size: Math.min(size, blocksSize) });
  if (inlineBlocks > 0) {
    const start = position + inode.inodeSize + inode.xattrSize;
    const tail = size - blocksSize;
    if (Math.floor(start / blockSize) !== Math.floor((start + tail - 1) / blockSize))
      throw new FormatError("inline-crosses-block", `inline data of inode ${nid} crosses a block boundary`, {
        offset: start,
      });
    runs.push({ at: blocksSize, start, size: tail });
  }
  for (const run of runs)
    if (run.start + run.size > source.size)
      throw new FormatError("data-out-of-range", `data of inode ${nid} lies outside the image`, { offset: run.start });
  return runs;
}

/** The data of any inode that has some. */
export function contentOf(image: ErofsImage, source: Source, inode: ErofsInode): Source {
  switch (inode.layout) {
    case "flat-plain":
    case "flat-inline": {
      const pieces: Piece[] = flatRuns(image, inode).map(({ at, start, size }) => ({
        at,
        source: sliceSource(source, start, size),
      }));
      const only = pieces[0];
      return pieces.length === 1 && only !== undefined && only.at === 0
        ? only.source
        : piecewiseSource(inode.size, pieces);
    }
    case "chunk-based":
      return chunkedSource(image, source, inode);
    default:
      return {
        size: inode.size,
        async read() {
          throw new UnsupportedError(
            "erofs-layout",
            `inode ${inode.nid} is compressed (${inode.layout}), which is not implemented`,
            { offset: inode.position },
          );
        },
      };
  }
}

/** All data of a directory or link, which has no holes: never more than the image itself has. */
export async function metadataBytes(
  image: ErofsImage,
  source: Source,
  inode: ErofsInode,
  limit: number,
): Promise<Uint8Array> {
  if (inode.size > limit)
    throw new FormatError("too-large", `inode ${inode.nid} has ${inode.size} bytes, more than ${limit}`, {
      offset: inode.position,
      expected: limit,
      actual: inode.size,
    });
  return contentOf(image, source, inode).read(0, inode.size);
}

/** Chunks of equal size, each with a block address; read from the table as they are needed. */
function chunkedSource({ superblock }: ErofsImage, source: Source, inode: ErofsInode): Source {
  const { blockSize } = superblock;
  const { nid, size, u: format } = inode;
  if ((format & 0xffff & ~(CHUNK_BITS_MASK | CHUNK_INDEXES)) !== 0)
    throw new UnsupportedError("chunk-format", `chunk format 0x${format.toString(16)} of inode ${nid}`, {
      offset: inode.position,
    });
  const chunkSize = blockSize * 2 ** (format & CHUNK_BITS_MASK);
  const hasIndexes = (format & CHUNK_INDEXES) !== 0;
  const unit = hasIndexes ? RawChunkIndex.size : RawChunkAddress.size;
  const table = alignUp(inode.position + inode.inodeSize + inode.xattrSize, unit);
  if (table + Math.ceil(size / chunkSize) * unit > source.size)
    throw new FormatError("data-out-of-range", `chunk table of inode ${nid} lies outside the image`, { offset: table });
  function chunkBlock(entries: Uint8Array, at: number): number {
    if (!hasIndexes) return RawChunkAddress.view(entries, at).block;
    const index = RawChunkIndex.view(entries, at);
    if (index.deviceId !== 0)
      throw new UnsupportedError("erofs-feature", `inode ${nid} has data on device ${index.deviceId}`);
    return index.block;
  }
  return {
    size,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      const whole = new Uint8Array(length);
      if (length === 0) return whole;
      const first = Math.floor(offset / chunkSize);
      const last = Math.floor((offset + length - 1) / chunkSize);
      const entries = await source.read(table + first * unit, (last - first + 1) * unit, options);
      for (let chunk = first; chunk <= last; chunk++) {
        const block = chunkBlock(entries, (chunk - first) * unit);
        if (block === NULL_BLOCK) continue; // a hole reads as zeros
        const from = Math.max(offset, chunk * chunkSize);
        const to = Math.min(offset + length, (chunk + 1) * chunkSize);
        const start = block * blockSize + (from - chunk * chunkSize);
        if (start + (to - from) > source.size)
          throw new FormatError("data-out-of-range", `chunk ${chunk} of inode ${nid} lies outside the image`, {
            offset: start,
          });
        whole.set(await source.read(start, to - from, options), from - offset);
      }
      return whole;
    },
  };
}
