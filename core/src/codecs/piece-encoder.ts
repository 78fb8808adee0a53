/** All encodings of clusters behind one call, and the port on the calling thread alone. */
import {
  type ClusterEncoder,
  type ClusterEncoding,
  ENCODE_CAPACITY,
  type EncodedPieces,
  type EncodeSlot,
  MAX_CLUSTER_SIZE,
  type Piece,
} from "./cluster-encoder.ts";
import { encodeFrameClusters, encodeFrames, type FrameMaker } from "./frame-clusters.ts";
import { createLz4Encoder, type Lz4Encoder } from "./lz4-encoder.ts";

/** Of each algorithm; `lz4` has one way. */
export const MAX_LEVELS: Readonly<Record<ClusterEncoding["algorithm"], number>> = { lz4: 1, lz4hc: 12, zstd: 19 };

/** Memory of somebody else, {@link ENCODE_CAPACITY} bytes each. */
export interface EncodeMemory {
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

/** One instance: its memory holds the input and the output of one call. */
export interface PieceEncoder {
  readonly input: Uint8Array;
  /**
   * With `memory` the pieces stand in its input instead, and the result is in its output.
   * Throws RangeError for what cannot be encoded: so no bad call reaches the module of LZ4, which checks nothing.
   */
  encode(pieces: readonly Piece[], encoding: ClusterEncoding, memory?: EncodeMemory): Promise<EncodedPieces>;
}

function assertCall(
  pieces: readonly Piece[],
  { algorithm, level, blockSize, packing, clusterSize }: ClusterEncoding,
): void {
  if (!Object.hasOwn(MAX_LEVELS, algorithm)) throw new RangeError(`not an algorithm: ${algorithm}`);
  if (!Number.isSafeInteger(level) || level < 1 || level > MAX_LEVELS[algorithm])
    throw new RangeError(`level ${level} of ${algorithm} is not one of 1 to ${MAX_LEVELS[algorithm]}`);
  if (packing !== "blocks" && algorithm !== "zstd") throw new RangeError(`${algorithm} fills blocks`);
  if (![512, 1024, 2048, 4096].includes(blockSize)) throw new RangeError(`block size ${blockSize} is not implemented`);
  if (clusterSize < blockSize || clusterSize > MAX_CLUSTER_SIZE || clusterSize % blockSize !== 0)
    throw new RangeError(`clusters of ${clusterSize} bytes are not possible with blocks of ${blockSize}`);
  let end = 0;
  for (const { at, size } of pieces) {
    if (!Number.isSafeInteger(at) || !Number.isSafeInteger(size) || size < 1 || at < end || at % blockSize !== 0)
      throw new RangeError(`a piece of ${size} bytes cannot be at ${at}`);
    end = at + Math.ceil(size / blockSize) * blockSize;
  }
  if (end > ENCODE_CAPACITY) throw new RangeError(`pieces end at ${end}, at most ${ENCODE_CAPACITY} bytes fit`);
}

/** Where a host has zstd: a maker for the frames of one piece at a level. */
export type MakeFrames = (level: number) => FrameMaker;

/** @param loadFrames is called when zstd is first asked for */
export function createPieceEncoder(loadFrames?: () => Promise<MakeFrames>): PieceEncoder {
  let lz4: Lz4Encoder | undefined; // it has 11 MiB of memory
  let output: Uint8Array | undefined; // for frames alone
  const lz4Encoder = (): Lz4Encoder => {
    lz4 ??= createLz4Encoder();
    return lz4;
  };
  return {
    get input() {
      return lz4Encoder().input;
    },
    async encode(pieces, encoding, memory) {
      assertCall(pieces, encoding);
      if (encoding.algorithm !== "zstd") {
        const encoder = lz4Encoder();
        if (memory === undefined) return encoder.encode(pieces, encoding);
        for (const { at, size } of pieces) encoder.input.set(memory.input.subarray(at, at + size), at);
        const { bytes, extents } = encoder.encode(pieces, encoding);
        memory.output.set(bytes);
        return { bytes: memory.output.subarray(0, bytes.length), extents };
      }
      if (loadFrames === undefined) throw new RangeError("this encoder was made without zstd");
      const makeFrames = await loadFrames();
      output ??= memory === undefined ? new Uint8Array(ENCODE_CAPACITY) : undefined;
      const encode = encoding.packing === "blocks" ? encodeFrameClusters : encodeFrames;
      const target = memory?.output ?? output!; // one of them is there
      return encode(memory?.input ?? lz4Encoder().input, pieces, encoding, target, () => makeFrames(encoding.level));
    },
  };
}

/** Encodes on the calling thread, one slot at a time. */
export function inlineClusterEncoder(loadFrames?: () => Promise<MakeFrames>): ClusterEncoder {
  const encoder = createPieceEncoder(loadFrames);
  const waiting: ((slot: EncodeSlot) => void)[] = [];
  let isFree = true;
  const slot: EncodeSlot = {
    input: encoder.input,
    encode: (pieces, encoding) => encoder.encode(pieces, encoding),
    release() {
      const next = waiting.shift();
      if (next === undefined) isFree = true;
      else next(slot);
    },
  };
  return {
    slots: 1,
    take() {
      if (!isFree) return new Promise((resolve) => waiting.push(resolve));
      isFree = false;
      return Promise.resolve(slot);
    },
  };
}
