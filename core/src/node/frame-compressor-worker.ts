/** A worker thread of the frame compressor: its own copy of the WASM library, one job after the other. */
import { parentPort } from "node:worker_threads";
import { compressAll } from "./frame-compressor-loop.ts";
import { loadZstd } from "./zstd-wasm.ts";

export interface FrameJob {
  readonly id: number;
  readonly blocks: Uint8Array;
  /** Bytes. */
  readonly frameSize: number;
  readonly level: number;
}

/** The answer to one job; `error` is there where it failed. */
export interface FramesDone {
  readonly id: number;
  /** One after the other. */
  readonly frames?: Uint8Array<ArrayBuffer>;
  readonly sizes?: readonly number[];
  readonly error?: string;
}

parentPort?.on("message", async ({ id, blocks, frameSize, level }: FrameJob) => {
  try {
    const compress = await loadZstd();
    const { frames, sizes } = compressAll(blocks, frameSize, (frame) => compress(frame, level));
    parentPort?.postMessage({ id, frames, sizes } satisfies FramesDone, [frames.buffer]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    parentPort?.postMessage({ id, error: message } satisfies FramesDone);
  }
});
