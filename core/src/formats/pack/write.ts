/** Writes packs, strictly forward: frames of blocks, their leaf digests, the seek table. */
import { filterBranches } from "../../codecs/index.ts";
import { type BlockHashParameters, DIGEST_SIZES } from "../../hash/index.ts";
import type { Sink } from "../../source/index.ts";
import {
  ALGORITHM_NUMBERS,
  FILTERS,
  LEAVES_FRAME_MAGIC,
  LEAVES_MAGIC,
  MAX_FRAMES,
  PACK_VERSION,
  RawLeavesHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
  SEEK_FRAME_MAGIC,
  SEEK_MAGIC,
} from "./format.ts";
import { blocksPerFrame, leavesFrameSize, type PackShape, seekTableSize } from "./shape.ts";

/**
 * Makes a zstd frame of each `frameSize` bytes, the last may have fewer. Its output goes into digests, so it is one pinned
 * library; the host may spread the frames over workers. `blocks` must not change until the promise settles.
 */
export type CompressFrames = (blocks: Uint8Array, frameSize: number) => Promise<readonly Uint8Array[]>;

/** Bytes of blocks that are compressed at once, so that a message to a worker does not cost more than its work. */
const BATCH_SIZE = 1024 * 1024;
/** Batches being compressed at most: enough for eight workers, 16 MiB of memory. */
const MAX_BATCHES = 16;

export interface PackWriter {
  /** Whole blocks, in order, with their leaf digests. Both are copied. */
  add(blocks: Uint8Array, leaves: Uint8Array): Promise<void>;
  /** The number of blocks; nothing may be added afterwards. */
  finish(): Promise<{ readonly blocks: number }>;
}

export function packWriter(
  sink: Sink,
  parameters: BlockHashParameters,
  compress: CompressFrames,
  { frameScale, filter }: Pick<PackShape, "frameScale" | "filter"> = { frameScale: 0, filter: undefined },
): PackWriter {
  const { blockSize, algorithm, salt } = parameters;
  const digestSize = DIGEST_SIZES[algorithm];
  const frameSize = blocksPerFrame({ parameters, frameScale }) * blockSize;
  const batchSize = Math.max(frameSize, BATCH_SIZE - (BATCH_SIZE % frameSize));
  const frameSizes: number[] = [];
  const digests: Uint8Array[] = [];
  const pending: Promise<readonly Uint8Array[]>[] = [];
  let blocks = 0;
  let batch = new Uint8Array(batchSize);
  let filled = 0;

  async function writeOldest(): Promise<void> {
    for (const frame of (await pending.shift()) ?? []) {
      frameSizes.push(frame.length);
      await sink.write(frame);
    }
  }

  async function dispatch(): Promise<void> {
    const content = batch.subarray(0, filled);
    if (filter !== undefined)
      for (let at = 0; at < filled; at += frameSize) filterBranches(content.subarray(at, at + frameSize), filter);
    const frames = compress(content, frameSize);
    frames.catch(() => {}); // awaited in its turn
    pending.push(frames);
    batch = new Uint8Array(batchSize);
    filled = 0;
    if (pending.length >= MAX_BATCHES) await writeOldest();
  }

  return {
    async add(added, leaves) {
      const count = added.length / blockSize;
      if (!Number.isInteger(count) || leaves.length !== count * digestSize)
        throw new RangeError(
          `${added.length} bytes and ${leaves.length} of digests are not whole blocks and their own`,
        );
      if (Math.ceil((blocks + count) / (frameSize / blockSize)) > MAX_FRAMES)
        throw new RangeError(`a pack holds at most ${MAX_FRAMES} frames`);
      blocks += count;
      digests.push(Uint8Array.from(leaves));
      for (let at = 0; at < added.length; ) {
        const length = Math.min(added.length - at, batchSize - filled);
        batch.set(added.subarray(at, at + length), filled);
        filled += length;
        at += length;
        if (filled === batchSize) await dispatch();
      }
    },
    async finish() {
      if (blocks === 0) throw new RangeError("a pack has at least one block");
      if (filled > 0) await dispatch();
      while (pending.length > 0) await writeOldest();
      const shape = { parameters, blocks };
      await sink.write(
        RawSkippableHeader.encode({
          magic: LEAVES_FRAME_MAGIC,
          size: leavesFrameSize(shape) - RawSkippableHeader.size,
        }),
      );
      await sink.write(
        RawLeavesHeader.encode({
          magic: LEAVES_MAGIC,
          version: PACK_VERSION,
          algorithm: ALGORITHM_NUMBERS[algorithm],
          blockSize,
          blocks,
          saltSize: salt.length,
          frameScale,
          filter: FILTERS.indexOf(filter),
        }),
      );
      await sink.write(salt);
      for (const part of digests) await sink.write(part);
      await sink.write(seekTable(frameSizes, frameSize, blocks * blockSize, leavesFrameSize(shape)));
      return { blocks };
    },
  };
}

function seekTable(frameSizes: readonly number[], frameSize: number, dataSize: number, leavesSize: number): Uint8Array {
  const table = new Uint8Array(seekTableSize(frameSizes.length));
  table.set(RawSkippableHeader.encode({ magic: SEEK_FRAME_MAGIC, size: table.length - RawSkippableHeader.size }));
  let at = RawSkippableHeader.size;
  for (const [index, compressedSize] of frameSizes.entries()) {
    const decompressedSize = Math.min(frameSize, dataSize - index * frameSize);
    table.set(RawSeekEntry.encode({ compressedSize, decompressedSize }), at);
    at += RawSeekEntry.size;
  }
  table.set(RawSeekEntry.encode({ compressedSize: leavesSize, decompressedSize: 0 }), at);
  at += RawSeekEntry.size;
  table.set(RawSeekFooter.encode({ frames: frameSizes.length + 1, descriptor: 0, magic: SEEK_MAGIC }), at);
  return table;
}
