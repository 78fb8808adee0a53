/** Worker threads as the flags want them. */
import { availableParallelism } from "node:os";
import { createBlockHasher, createClusterEncoder } from "@ashlar/core/node";

/** More than these do not pay: reading and decompressing the layers is the rest of the work. */
const MAX_DEFAULT_WORKERS = 8;

/** The thread that reads and writes takes a processor too: on two of them one worker is faster than two (measured). */
function defaultWorkers(): number {
  return Math.min(Math.max(availableParallelism() - 1, 1), MAX_DEFAULT_WORKERS);
}

export function workersOf(workers: number | undefined): number {
  return workers ?? defaultWorkers();
}

/** Compressing is most of the work where it is done: then the calling thread has little to do. */
export function clusterEncoder(workers: number | undefined): ReturnType<typeof createClusterEncoder> {
  return createClusterEncoder({ workers: workers ?? Math.min(availableParallelism(), MAX_DEFAULT_WORKERS) });
}

export function blockHasher(workers: number | undefined): ReturnType<typeof createBlockHasher> {
  return createBlockHasher({ workers: workersOf(workers) });
}
