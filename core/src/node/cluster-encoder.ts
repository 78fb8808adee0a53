/** Cluster encoding on worker threads, over shared memory: the calling thread fills slots and takes blocks out of them. */
import { Worker } from "node:worker_threads";
import {
  type ClusterEncoder,
  type ClusterEncoding,
  ENCODE_CAPACITY,
  type EncodedPieces,
  type EncodeSlot,
  inlineClusterEncoder,
  type Piece,
} from "../codecs/index.ts";
import type { EncodeDone, EncodeJob, SlotMemory } from "./cluster-encoder-worker.ts";
import { workerUrl as workerUrlOf } from "./own-files.ts";
import { loadFrameMaker } from "./zstd-frame-maker.ts";

/** One is filled and one is emptied while the others are encoded. */
const SPARE_SLOTS = 2;
/** Two numbers an extent, an extent a block of the least size. */
const EXTENTS_SIZE = (ENCODE_CAPACITY / 512) * 8;
/** More do not pay for their memory, some 20 MiB each. */
const MAX_WORKERS = 64;

export interface ClusterEncoderOptions {
  /** Worker threads, started when there is work; 0 encodes on the calling thread. The bytes do not depend on it. */
  readonly workers: number;
  /** The worker's program, where the sources were bundled elsewhere. */
  readonly workerUrl?: URL | undefined;
}

interface Job {
  readonly message: EncodeJob;
  readonly resolve: (done: EncodeDone) => void;
  readonly reject: (error: Error) => void;
}

/**
 * An idle encoder does not keep the process alive. A thread that dies rejects the calls in work and every later one.
 * Disposing ends the threads; calls in work reject.
 */
export function createClusterEncoder(options: ClusterEncoderOptions): ClusterEncoder & AsyncDisposable {
  const { workers: limit } = options;
  if (!Number.isSafeInteger(limit) || limit < 0 || limit > MAX_WORKERS)
    throw new RangeError(`${limit} workers, 0 to ${MAX_WORKERS} are possible`);
  if (limit === 0) return { ...inlineClusterEncoder(loadFrameMaker), async [Symbol.asyncDispose]() {} };
  const workerUrl = options.workerUrl ?? workerUrlOf("cluster-encoder");
  const threads: Worker[] = [];
  const idle: Worker[] = [];
  const inWork = new Map<Worker, Job>();
  const jobs: Job[] = [];
  const free: EncodeSlot[] = [];
  const waiting: { readonly resolve: (slot: EncodeSlot) => void; readonly reject: (error: Error) => void }[] = [];
  let made = 0;
  let failure: Error | undefined;

  function fail(error: Error): void {
    if (failure !== undefined) return; // an ending thread reports here too, while others are waited for
    failure = error;
    for (const thread of threads) thread.unref();
    for (const { reject } of [...inWork.values(), ...jobs.splice(0), ...waiting.splice(0)]) reject(error);
    inWork.clear();
  }

  function startThread(): Worker {
    const thread = new Worker(workerUrl, { execArgv: [], name: "cluster-encoder" });
    thread.unref();
    thread.on("message", (done: EncodeDone) => {
      const job = inWork.get(thread);
      inWork.delete(thread);
      thread.unref();
      idle.push(thread);
      next();
      if (done.error === undefined) job?.resolve(done);
      else job?.reject(new Error(`cluster encoder: ${done.error}`));
    });
    thread.on("error", (cause) => fail(new Error("cluster encoder: a worker thread failed", { cause })));
    thread.on("exit", (code) => fail(new Error(`cluster encoder: a worker thread ended (exit code ${code})`)));
    threads.push(thread);
    return thread;
  }

  /** Gives the oldest job to a thread, where both are there. */
  function next(): void {
    if (failure !== undefined || jobs.length === 0) return;
    const thread = idle.pop() ?? (threads.length < limit ? startThread() : undefined);
    if (thread === undefined) return;
    const job = jobs.shift()!; // there is one
    inWork.set(thread, job);
    thread.ref();
    thread.postMessage(job.message);
  }

  function makeSlot(): EncodeSlot {
    made++;
    const memory: SlotMemory = {
      input: new SharedArrayBuffer(ENCODE_CAPACITY),
      output: new SharedArrayBuffer(ENCODE_CAPACITY),
      extents: new SharedArrayBuffer(EXTENTS_SIZE),
    };
    const output = new Uint8Array(memory.output);
    const extents = new Uint32Array(memory.extents);
    const slot: EncodeSlot = {
      input: new Uint8Array(memory.input),
      async encode(pieces: readonly Piece[], encoding: ClusterEncoding): Promise<EncodedPieces> {
        if (failure !== undefined) throw failure;
        const done = await new Promise<EncodeDone>((resolve, reject) => {
          jobs.push({ message: { memory, pieces, encoding }, resolve, reject });
          next();
        });
        return { bytes: output.subarray(0, done.size), extents: extents.subarray(0, done.extents) };
      },
      release() {
        const taker = waiting.shift();
        if (taker === undefined) free.push(slot);
        else taker.resolve(slot);
      },
    };
    return slot;
  }

  const slots = limit + SPARE_SLOTS;
  return {
    slots,
    async take() {
      if (failure !== undefined) throw failure;
      const slot = free.pop() ?? (made < slots ? makeSlot() : undefined);
      return slot ?? new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    async [Symbol.asyncDispose]() {
      fail(new Error("cluster encoder: used after it was disposed"));
      await Promise.all(
        threads.map((thread) => {
          thread.ref(); // or the process may end while it waits here
          return thread.terminate();
        }),
      );
    },
  };
}
