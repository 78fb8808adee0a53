/** Hashes data blocks in the same pass that writes them. */
import { type BlockHasher, DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import {
  bytesSource,
  memoryScratchFile,
  passingChunksOf,
  piecewiseSource,
  type RandomSink,
  type Scratch,
  type Source,
  sliceSource,
} from "../../source/index.ts";
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
  finish(dataSize: number): Promise<Source>;
}

/** Blocks in a row. */
interface Run {
  readonly block: number;
  readonly count: number;
}

/**
 * A decorator in front of `target`: writes go through while their blocks are hashed. The digests of all blocks but the
 * first go to `scratch`, 32 or 64 bytes a block; in memory there are 16 MiB, however large the device becomes.
 */
export function leafCollector(
  target: RandomSink,
  hasher: BlockHasher,
  parameters: VerityParameters,
  scratch: Scratch = memoryScratchFile(),
): LeafCollector {
  assertVerityParameters(parameters);
  const blockSize = parameters.dataBlockSize;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const blockHash = dataBlockHash(parameters);

  let next = 1; // the lowest block that may be written
  let stored = 1; // the block whose digest comes next in `scratch`
  let first: Uint8Array | undefined; // the digest of block 0
  let zero: Promise<Uint8Array> | undefined; // the digest of a block of zeros
  let restBlocks: number | undefined; // set when the rest is complete
  let finished = false;
  let busy = false;

  const spare: Uint8Array[] = [];
  const outstanding = new Set<Promise<void>>();
  let last: Promise<void> = Promise.resolve(); // digests are stored in the order of their blocks, whoever is ready first
  let failure: { readonly cause: unknown } | undefined;
  let chunk: { readonly bytes: Uint8Array; readonly runs: Run[]; used: number } | undefined;

  function zeroDigest(): Promise<Uint8Array> {
    zero ??= hasher.hashBlocks(new Uint8Array(blockSize), blockHash);
    return zero;
  }

  /** Digests of the blocks of zeros from `stored` up to `block`. */
  async function storeGap(block: number): Promise<void> {
    if (block === stored) return;
    const digest = await zeroDigest();
    const many = new Uint8Array(Math.min(block - stored, CHUNK_SIZE / digestSize) * digestSize);
    for (let at = 0; at < many.length; at += digestSize) many.set(digest, at);
    while (stored < block) {
      const count = Math.min(block - stored, many.length / digestSize);
      await scratch.append(many.subarray(0, count * digestSize));
      stored += count;
    }
  }

  function dispatch(): void {
    if (chunk === undefined) return;
    const { bytes, runs, used } = chunk;
    chunk = undefined;
    const hashed = hasher.hashBlocks(bytes.subarray(0, used), blockHash);
    hashed.catch(() => {}); // awaited below, after the chunks before
    const before = last;
    const work = (async () => {
      try {
        await before;
        const digests = await hashed;
        let at = 0;
        for (const { block, count } of runs) {
          await storeGap(block);
          await scratch.append(digests.subarray(at, at + count * digestSize));
          stored += count;
          at += count * digestSize;
        }
        spare.push(bytes);
      } catch (cause) {
        failure ??= { cause };
      }
    })();
    last = work;
    outstanding.add(work);
    void work.then(() => outstanding.delete(work));
  }

  /** Copies blocks into chunks, so that the caller may reuse `bytes` long before they are hashed. */
  async function collect(block: number, bytes: Uint8Array): Promise<void> {
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

  /** Waits for what is being hashed, and gives every unwritten block but block 0 the digest of zeros. */
  async function completeRest(dataSize: number): Promise<number> {
    const blocks = dataSize / blockSize;
    assertVerityParameters(parameters, blocks);
    if (blocks < next || (restBlocks !== undefined && restBlocks !== blocks))
      throw new RangeError(
        `a data device of ${dataSize} bytes, but blocks up to ${(restBlocks ?? next) - 1} were written`,
      );
    dispatch();
    await last;
    if (failure !== undefined) throw failure.cause;
    if (restBlocks !== undefined) return blocks;
    await storeGap(blocks);
    restBlocks = blocks;
    next = blocks;
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
        const isLate = finished || first !== undefined;
        if (isLate || (block === 0 ? count > 1 : restBlocks !== undefined || block < next))
          throw new RangeError(`block ${block} is out of order: ascending from block 1, each once, block 0 last`);
        if (block === 0) {
          [first] = await Promise.all([hasher.hashBlocks(bytes, blockHash), target.writeAt(offset, bytes)]);
          return;
        }
        next = block + count;
        await Promise.all([target.writeAt(offset, bytes), collect(block, bytes)]);
      }),
    digestOfRest: (dataSize, hashes) =>
      alone(async () => {
        const blocks = await completeRest(dataSize);
        const hash = hashes.create("sha256");
        const rest = sliceSource(scratch, 0, (blocks - 1) * digestSize);
        for await (const digests of passingChunksOf(rest, { chunkSize: CHUNK_SIZE })) hash.update(digests);
        return hash.digest();
      }),
    finish: (dataSize) =>
      alone(async () => {
        const blocks = await completeRest(dataSize);
        finished = true;
        return piecewiseSource(blocks * digestSize, [
          { at: 0, source: bytesSource(first ?? (await zeroDigest())) },
          { at: digestSize, source: sliceSource(scratch, 0, (blocks - 1) * digestSize) },
        ]);
      }),
  };
}
