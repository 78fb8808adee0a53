/**
 * Compression of the frames of a pack on worker threads. Never node:zlib, whose bundled zstd changes with Node: a pinned
 * WASM build, since the digest of a pack depends on every byte of it.
 */
import { Worker } from "node:worker_threads";
import type { FrameCompressor } from "../ops/environment.ts";
import { compressAll, cutFrames } from "./frame-compressor-loop.ts";
import type { FrameJob, FramesDone } from "./frame-compressor-worker.ts";
import { workerUrl as workerUrlOf } from "./own-files.ts";
import { loadZstd } from "./zstd-wasm.ts";

/** Requests up to this many bytes are compressed on the calling thread: a worker takes 40 ms to start. */
const INLINE_SIZE = 256 * 1024;
/** More do not pay for their memory, some 10 MiB each. */
const MAX_WORKERS = 64;

export interface FrameCompressorOptions {
  /** Worker threads, started when there is work; 0 compresses on the calling thread. The frames do not depend on it. */
  readonly workers: number;
  /** The worker's program, where the sources were bundled elsewhere. */
  readonly workerUrl?: URL | undefined;
}

interface PoolWorker {
  readonly thread: Worker;
  readonly jobs: Map<number, { readonly resolve: (done: FramesDone) => void; readonly reject: (error: Error) => void }>;
}

/** An idle compressor does not keep the process alive. A thread that dies rejects the calls in work and every later one. */
export async function createFrameCompressor({
  workers: limit,
  workerUrl = workerUrlOf("frame-compressor"),
}: FrameCompressorOptions): Promise<FrameCompressor & AsyncDisposable> {
  if (!Number.isSafeInteger(limit) || limit < 0 || limit > MAX_WORKERS)
    throw new RangeError(`${limit} workers, 0 to ${MAX_WORKERS} are possible`);
  const compress = await loadZstd();
  const pool: PoolWorker[] = [];
  let nextId = 0;
  let failure: Error | undefined;

  function fail(error: Error): void {
    failure ??= error;
    for (const { jobs, thread } of pool) {
      thread.unref();
      for (const { reject } of jobs.values()) reject(failure);
      jobs.clear();
    }
  }

  function startWorker(): PoolWorker {
    const thread = new Worker(workerUrl, { execArgv: [], name: "frame-compressor" });
    const worker: PoolWorker = { thread, jobs: new Map() };
    thread.unref();
    thread.on("message", (done: FramesDone) => {
      const job = worker.jobs.get(done.id);
      worker.jobs.delete(done.id);
      if (worker.jobs.size === 0) thread.unref();
      if (done.error === undefined) job?.resolve(done);
      else job?.reject(new Error(`frame compressor: ${done.error}`));
    });
    thread.on("error", (cause) => fail(new Error("frame compressor: a worker thread failed", { cause })));
    thread.on("exit", (code) => fail(new Error(`frame compressor: a worker thread ended (exit code ${code})`)));
    pool.push(worker);
    return worker;
  }

  function leastBusy(): PoolWorker {
    let best: PoolWorker | undefined;
    for (const worker of pool) if (best === undefined || worker.jobs.size < best.jobs.size) best = worker;
    return best === undefined || (best.jobs.size > 0 && pool.length < limit) ? startWorker() : best;
  }

  return {
    async compressFrames(blocks, frameSize, level) {
      if (failure !== undefined) throw failure;
      if (limit === 0 || blocks.length <= INLINE_SIZE) {
        const { frames, sizes } = compressAll(blocks, frameSize, (frame) => compress(frame, level));
        return cutFrames(frames, sizes);
      }
      const worker = leastBusy();
      const copy = new Uint8Array(blocks); // handed over with its memory
      const job: FrameJob = { id: nextId++, blocks: copy, frameSize, level };
      const { frames = new Uint8Array(0), sizes = [] } = await new Promise<FramesDone>((resolve, reject) => {
        worker.jobs.set(job.id, { resolve, reject });
        worker.thread.ref();
        worker.thread.postMessage(job, [copy.buffer]);
      });
      return cutFrames(frames, sizes);
    },
    async [Symbol.asyncDispose]() {
      fail(new Error("frame compressor: is disposed"));
      await Promise.all(pool.map(({ thread }) => thread.terminate()));
    },
  };
}
