/** A worker thread of the cluster encoder: encodes slots of shared memory as it is told, until it is terminated. */
import { parentPort } from "node:worker_threads";
import { type ClusterEncoding, createPieceEncoder, type Piece } from "../codecs/index.ts";
import { loadFrameMaker } from "./zstd-frame-maker.ts";

/** The memory of one slot. */
export interface SlotMemory {
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  readonly extents: SharedArrayBuffer;
}

export interface EncodeJob {
  readonly memory: SlotMemory;
  readonly pieces: readonly Piece[];
  readonly encoding: ClusterEncoding;
}

/** The answer to one job; `error` is there where it failed. */
export interface EncodeDone {
  /** Bytes of output. */
  readonly size: number;
  /** Numbers in `extents`. */
  readonly extents: number;
  readonly error?: string;
}

const encoder = createPieceEncoder(loadFrameMaker);

parentPort?.on("message", async ({ memory, pieces, encoding }: EncodeJob) => {
  let done: EncodeDone;
  try {
    const { bytes, extents } = await encoder.encode(pieces, encoding, {
      input: new Uint8Array(memory.input),
      output: new Uint8Array(memory.output),
    });
    new Uint32Array(memory.extents).set(extents);
    done = { size: bytes.length, extents: extents.length };
  } catch (error) {
    done = { size: 0, extents: 0, error: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(done);
});
