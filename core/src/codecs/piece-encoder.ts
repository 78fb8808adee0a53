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
import { createLz4Encoder } from "./lz4-encoder.ts";

/** Of each algorithm; `lz4` has one way. */
export const MAX_LEVELS: Readonly<Record<ClusterEncoding["algorithm"], number>> = { lz4: 1, lz4hc: 12, zstd: 19 };

/** One instance: its memory holds the input and the output of one call. */
export interface PieceEncoder {
  readonly input: Uint8Array;
  /** Throws RangeError for what cannot be encoded: so no bad call reaches the module of LZ4, which checks nothing. */
  encode(pieces: readonly Piece[], encoding: ClusterEncoding): Promise<EncodedPieces>;
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
  const lz4 = createLz4Encoder();
  let output: Uint8Array | undefined; // for frames alone
  return {
    input: lz4.input,
    async encode(pieces, encoding) {
      assertCall(pieces, encoding);
      if (encoding.algorithm !== "zstd") return lz4.encode(pieces, encoding);
      if (loadFrames === undefined) throw new RangeError("this encoder was made without zstd");
      const makeFrames = await loadFrames();
      output ??= new Uint8Array(ENCODE_CAPACITY);
      const encode = encoding.packing === "blocks" ? encodeFrameClusters : encodeFrames;
      return encode(lz4.input, pieces, encoding, output, () => makeFrames(encoding.level));
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
