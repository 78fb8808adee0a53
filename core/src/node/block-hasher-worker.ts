/** A worker thread of the block hasher: hashes slots of shared memory as it is told, until it is terminated. */
import { parentPort, workerData } from "node:worker_threads";
import { type HashLoopParameters, hashInPlace } from "./block-hasher-loop.ts";

/** Given once, when the worker starts: its slots. */
export interface HashWorkerData {
  readonly slots: readonly { readonly region: SharedArrayBuffer; readonly digests: SharedArrayBuffer }[];
  /** Bytes ahead of the blocks in `region`, room for the salt. */
  readonly headroom: number;
}

export interface HashJob extends HashLoopParameters {
  readonly slot: number;
  readonly blocks: number;
}

/** The answer to one job; `error` is there where it failed. */
export interface HashDone {
  readonly slot: number;
  readonly error?: string;
}

const { slots, headroom } = workerData as HashWorkerData;
const views = slots.map(({ region, digests }) => ({ region: new Uint8Array(region), digests: Buffer.from(digests) }));

parentPort?.on("message", (job: HashJob) => {
  const done: { slot: number; error?: string } = { slot: job.slot };
  try {
    const { region, digests } = views[job.slot]!; // the pool knows how many slots it gave
    hashInPlace(region, headroom, job.blocks, job, digests);
  } catch (error) {
    done.error = error instanceof Error ? error.message : String(error);
  }
  parentPort?.postMessage(done satisfies HashDone);
});
