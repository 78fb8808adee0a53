/** Block hashing on worker threads, over shared memory: the calling thread only copies blocks in and digests out. */
import { Worker } from "node:worker_threads";
import { type BlockHasher, type BlockHashParameters, DIGEST_SIZES } from "../hash/index.ts";
import { hashInPlace } from "./block-hasher-loop.ts";
import type { HashDone, HashJob, HashWorkerData } from "./block-hasher-worker.ts";
import { workerUrl as workerUrlOf } from "./own-files.ts";

/** Bytes of blocks in one slot: about 0.7 ms of work, against some 50 µs for the message both ways. */
const SLOT_SIZE = 1024 * 1024;
/** One is filled while the other is hashed. */
const SLOTS_PER_WORKER = 2;
/** Bytes; the longest salt of dm-verity, and 4 KiB so that blocks stay page-aligned. */
const HEADROOM = 4096;
const MAX_SALT_SIZE = 256;
/** Bytes; the least block (512) and the longest digest (64). */
const DIGESTS_SIZE = (SLOT_SIZE / 512) * 64;
/** Requests up to this many bytes are hashed at once on the calling thread: a worker would not answer sooner. */
const INLINE_SIZE = 64 * 1024;
/** More do not pay for their memory. */
const MAX_WORKERS = 64;

export interface BlockHasherOptions {
  /** Worker threads, started when there is work; 0 hashes on the calling thread. The digests do not depend on it. */
  readonly workers: number;
  /** The worker's program, where the sources were bundled elsewhere. */
  readonly workerUrl?: URL | undefined;
}

interface PoolWorker {
  readonly thread: Worker;
  readonly slots: readonly Slot[];
  /** Slots in use. The thread keeps the process alive while there are any. */
  jobs: number;
}

interface Slot {
  readonly owner: PoolWorker;
  readonly index: number;
  readonly blocks: Uint8Array;
  readonly digests: Uint8Array;
  settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
}

/** The port's contract, checked: a bad call must not reach a worker. */
function assertBlocks(blocks: Uint8Array, { algorithm, salt, blockSize }: BlockHashParameters): void {
  if (!Object.hasOwn(DIGEST_SIZES, algorithm)) throw new RangeError(`not a hash algorithm: ${algorithm}`);
  if (!Number.isSafeInteger(blockSize) || blockSize < 512 || blockSize > SLOT_SIZE)
    throw new RangeError(`block size ${blockSize} is outside 512 B … 1 MiB`);
  if (blocks.length % blockSize !== 0)
    throw new RangeError(`${blocks.length} bytes are not whole blocks of ${blockSize} bytes`);
  if (salt.length > MAX_SALT_SIZE) throw new RangeError(`salt of ${salt.length} bytes, at most ${MAX_SALT_SIZE} fit`);
}

function hashHere(blocks: Uint8Array, parameters: BlockHashParameters, digests: Uint8Array): void {
  const { salt, blockSize } = parameters;
  const out = Buffer.from(digests.buffer, digests.byteOffset, digests.length);
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const region = new Uint8Array(salt.length + blockSize); // the caller's blocks must stay as they are
  for (let at = 0, i = 0; at < blocks.length; at += blockSize, i++) {
    region.set(blocks.subarray(at, at + blockSize), salt.length);
    hashInPlace(region, salt.length, 1, { ...parameters, digestSize }, out.subarray(i * digestSize));
  }
}

/**
 * Makes a hasher with `workers` threads. Block sizes 512 B to 1 MiB, salts up to 256 bytes; RangeError otherwise.
 * An idle hasher does not keep the process alive. A thread that dies rejects the calls in work and every later one.
 * Disposing ends the threads; calls in work reject.
 */
export function createBlockHasher(options: BlockHasherOptions): BlockHasher & AsyncDisposable {
  const { workers: limit } = options;
  if (!Number.isSafeInteger(limit) || limit < 0 || limit > MAX_WORKERS)
    throw new RangeError(`${limit} workers, 0 to ${MAX_WORKERS} are possible`);
  const workerUrl = options.workerUrl ?? workerUrlOf("block-hasher");
  const pool: PoolWorker[] = [];
  const free: Slot[] = [];
  const waiting: { readonly resolve: (slot: Slot) => void; readonly reject: (error: Error) => void }[] = [];
  let failure: Error | undefined;

  function fail(error: Error): void {
    if (failure !== undefined) return; // an ending thread reports here too, while others are waited for
    failure = error;
    for (const { reject } of waiting.splice(0)) reject(error);
    for (const { thread, slots } of pool) {
      thread.unref();
      for (const slot of slots) {
        const { settle } = slot;
        slot.settle = undefined;
        settle?.reject(error);
      }
    }
  }

  function startWorker(): void {
    const memory = Array.from({ length: SLOTS_PER_WORKER }, () => ({
      region: new SharedArrayBuffer(HEADROOM + SLOT_SIZE),
      digests: new SharedArrayBuffer(DIGESTS_SIZE),
    }));
    const workerData: HashWorkerData = { slots: memory, headroom: HEADROOM };
    const thread = new Worker(workerUrl, { workerData, execArgv: [], name: "block-hasher" });
    const slots: Slot[] = [];
    const worker: PoolWorker = { thread, slots, jobs: 0 };
    for (const [index, { region, digests }] of memory.entries())
      slots.push({
        owner: worker,
        index,
        blocks: new Uint8Array(region, HEADROOM),
        digests: new Uint8Array(digests),
        settle: undefined,
      });
    thread.unref();
    thread.on("message", ({ slot: index, error }: HashDone) => {
      const slot = slots[index]!; // an answer names the slot of its job
      const { settle } = slot;
      slot.settle = undefined;
      if (error === undefined) settle?.resolve();
      else settle?.reject(new Error(`block hasher: ${error}`));
    });
    thread.on("error", (cause) => fail(new Error("block hasher: a worker thread failed", { cause })));
    thread.on("exit", (code) => fail(new Error(`block hasher: a worker thread ended (exit code ${code})`)));
    pool.push(worker);
    free.push(...slots);
  }

  /** A free slot of the least busy worker; a new worker where all are busy; else the next that becomes free. */
  function takeSlot(): Promise<Slot> {
    if (pool.length < limit && !free.some((slot) => slot.owner.jobs === 0)) startWorker();
    let best: Slot | undefined;
    for (const slot of free) if (best === undefined || slot.owner.jobs < best.owner.jobs) best = slot;
    if (best === undefined) return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    free.splice(free.indexOf(best), 1);
    if (best.owner.jobs++ === 0) best.owner.thread.ref();
    return Promise.resolve(best);
  }

  function giveBack(slot: Slot): void {
    const next = waiting.shift();
    if (next !== undefined) next.resolve(slot);
    else {
      free.push(slot);
      // After a failure the thread is let go already, or kept until it has ended: then this must not undo it.
      if (--slot.owner.jobs === 0 && failure === undefined) slot.owner.thread.unref();
    }
  }

  /** Has one slot's worth of blocks hashed into `digests`. */
  async function hashPiece(blocks: Uint8Array, parameters: BlockHashParameters, digests: Uint8Array): Promise<void> {
    const slot = await takeSlot();
    try {
      if (failure !== undefined) throw failure;
      slot.blocks.set(blocks);
      const { algorithm, salt, blockSize } = parameters;
      await new Promise<void>((resolve, reject) => {
        slot.settle = { resolve, reject };
        const digestSize = DIGEST_SIZES[algorithm];
        const counted = { slot: slot.index, blocks: blocks.length / blockSize };
        const job: HashJob = { ...counted, algorithm, salt, blockSize, digestSize };
        slot.owner.thread.postMessage(job);
      });
      digests.set(slot.digests.subarray(0, digests.length));
    } finally {
      giveBack(slot);
    }
  }

  return {
    async hashBlocks(blocks, parameters) {
      assertBlocks(blocks, parameters);
      if (failure !== undefined) throw failure;
      const { blockSize } = parameters;
      const digestSize = DIGEST_SIZES[parameters.algorithm];
      const digests = new Uint8Array((blocks.length / blockSize) * digestSize);
      if (limit === 0 || blocks.length <= INLINE_SIZE) {
        hashHere(blocks, parameters, digests);
        return digests;
      }
      const perPiece = Math.floor(SLOT_SIZE / blockSize);
      const pieces: Promise<void>[] = [];
      for (let block = 0; block * blockSize < blocks.length; block += perPiece)
        pieces.push(
          hashPiece(
            blocks.subarray(block * blockSize, (block + perPiece) * blockSize),
            parameters,
            digests.subarray(block * digestSize, (block + perPiece) * digestSize),
          ),
        );
      await Promise.all(pieces);
      return digests;
    },
    async [Symbol.asyncDispose]() {
      fail(new Error("block hasher: used after it was disposed"));
      await Promise.all(
        pool.map(({ thread }) => {
          thread.ref(); // or the process may end while it waits here
          return thread.terminate();
        }),
      );
    },
  };
}
