/** Hashes data blocks in the same pass that writes them. */
import { type BlockHasher, DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import type { RandomSink } from "../../source/index.ts";
import { assertVerityParameters, dataBlockHash, type VerityParameters } from "./geometry.ts";

/** Bytes that are handed to the hasher at once, so that small writes do not cost a round trip each. */
const CHUNK_SIZE = 1024 * 1024;
/** Chunks being hashed at most: enough to keep eight workers busy, and 16 MiB of memory. */
const MAX_CHUNKS = 16;

/**
 * A data device in the making. The writer in front of it writes whole, aligned blocks, each block once, in ascending
 * order from block 1 on, and block 0 last; blocks never written are zeros. One call at a time.
 */
export interface LeafCollector extends RandomSink {
  /** Throws RangeError for a write that breaks the order; rejects with what the target or the hasher threw. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * SHA-256 over the digests of the blocks 1 … n-1 of a device of `dataSize` bytes, once all of them are written: a name
   * for the content that can go into block 0. From then on only block 0 may be written.
   */
  digestOfRest(dataSize: number, hashes: Hashes): Promise<Uint8Array>;
  /** The digests of all blocks of a device of `dataSize` bytes, in order. Nothing may be written afterwards. */
  finish(dataSize: number): Promise<Uint8Array>;
}

/** Blocks in a row. */
interface Run {
  readonly block: number;
  readonly count: number;
}

/** A decorator in front of `target`: writes go through while their blocks are hashed. Memory: 32 or 64 bytes a block and 16 MiB. */
export function leafCollector(target: RandomSink, hasher: BlockHasher, parameters: VerityParameters): LeafCollector {
  assertVerityParameters(parameters);
  const blockSize = parameters.dataBlockSize;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const blockHash = dataBlockHash(parameters);

  let leaves = new Uint8Array(1024 * digestSize);
  const gaps: Run[] = []; // blocks passed over
  let next = 1; // the lowest block that may be written
  let wroteFirst = false; // block 0 is there
  let restBlocks: number | undefined; // set when the rest is complete
  let busy = false;

  const spare: Uint8Array[] = [];
  const outstanding = new Set<Promise<void>>();
  let failure: { readonly cause: unknown } | undefined;
  let chunk: { readonly bytes: Uint8Array; readonly runs: Run[]; used: number } | undefined;

  function reserve(blocks: number): void {
    if (blocks * digestSize <= leaves.length) return;
    const grown = new Uint8Array(Math.max(blocks * digestSize, 2 * leaves.length));
    grown.set(leaves);
    leaves = grown;
  }

  function dispatch(): void {
    if (chunk === undefined) return;
    const { bytes, runs, used } = chunk;
    chunk = undefined;
    const work = hasher.hashBlocks(bytes.subarray(0, used), blockHash).then(
      (digests) => {
        let at = 0;
        for (const run of runs) {
          leaves.set(digests.subarray(at, at + run.count * digestSize), run.block * digestSize);
          at += run.count * digestSize;
        }
        spare.push(bytes);
      },
      (cause: unknown) => {
        failure ??= { cause };
      },
    );
    outstanding.add(work);
    void work.then(() => outstanding.delete(work));
  }

  /** Copies blocks into chunks, so that the caller may reuse `bytes` long before they are hashed. */
  async function collect(block: number, bytes: Uint8Array): Promise<void> {
    reserve(block + bytes.length / blockSize);
    for (let at = 0; at < bytes.length; ) {
      while (chunk === undefined && outstanding.size >= MAX_CHUNKS) await Promise.race(outstanding);
      if (failure !== undefined) throw failure.cause;
      chunk ??= { bytes: spare.pop() ?? new Uint8Array(Math.max(CHUNK_SIZE, blockSize)), runs: [], used: 0 };
      const length = Math.min(bytes.length - at, chunk.bytes.length - chunk.used);
      chunk.bytes.set(bytes.subarray(at, at + length), chunk.used);
      chunk.runs.push({ block: block + at / blockSize, count: length / blockSize });
      chunk.used += length;
      at += length;
      if (chunk.used === chunk.bytes.length) dispatch();
    }
  }

  /** Waits for what is being hashed. */
  async function drain(): Promise<void> {
    dispatch();
    while (outstanding.size > 0) await Promise.race(outstanding);
    if (failure !== undefined) throw failure.cause;
  }

  /** Gives every unwritten block but block 0 the digest of zeros. */
  async function completeRest(dataSize: number): Promise<number> {
    const blocks = dataSize / blockSize;
    assertVerityParameters(parameters, blocks);
    if (blocks < next || (restBlocks !== undefined && restBlocks !== blocks))
      throw new RangeError(
        `a data device of ${dataSize} bytes, but blocks up to ${(restBlocks ?? next) - 1} were written`,
      );
    await drain();
    if (restBlocks !== undefined) return blocks;
    restBlocks = blocks;
    reserve(blocks);
    if (next < blocks) gaps.push({ block: next, count: blocks - next });
    next = blocks;
    if (gaps.length > 0) {
      const zero = await hasher.hashBlocks(new Uint8Array(blockSize), blockHash);
      for (const { block, count } of gaps) for (let i = block; i < block + count; i++) leaves.set(zero, i * digestSize);
    }
    return blocks;
  }

  /** Overlapping calls would file digests under the wrong blocks without a sign of it, so they are refused. */
  async function alone<T>(work: () => Promise<T>): Promise<T> {
    if (busy) throw new Error("leaf collector: calls must not overlap");
    busy = true;
    try {
      return await work();
    } finally {
      busy = false;
    }
  }

  return {
    writeAt: (offset, bytes) =>
      alone(async () => {
        const block = offset / blockSize;
        const count = bytes.length / blockSize;
        if (!Number.isSafeInteger(block) || !Number.isInteger(count) || block < 0)
          throw new RangeError(`${bytes.length} bytes at ${offset} are not whole blocks of ${blockSize} bytes`);
        if (count === 0) return;
        if (block === 0 ? wroteFirst || count > 1 : wroteFirst || restBlocks !== undefined || block < next)
          throw new RangeError(`block ${block} is out of order: ascending from block 1, each once, block 0 last`);
        if (block === 0) wroteFirst = true;
        else {
          if (block > next) gaps.push({ block: next, count: block - next });
          next = block + count;
        }
        await Promise.all([target.writeAt(offset, bytes), collect(block, bytes)]);
      }),
    digestOfRest: (dataSize, hashes) =>
      alone(async () => {
        const blocks = await completeRest(dataSize);
        return hashes.hash("sha256", leaves.subarray(digestSize, blocks * digestSize));
      }),
    finish: (dataSize) =>
      alone(async () => {
        const blocks = await completeRest(dataSize);
        if (!wroteFirst) leaves.set(await hasher.hashBlocks(new Uint8Array(blockSize), blockHash));
        wroteFirst = true; // closes the collector
        return leaves.slice(0, blocks * digestSize);
      }),
  };
}
