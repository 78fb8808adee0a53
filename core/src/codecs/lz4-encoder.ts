/** The LZ4 encoder of core/assembly/lz4.ts, and the port on the calling thread alone. */
import { fromBase64 } from "../bytes/index.ts";
import {
  type ClusterEncoder,
  type ClusterEncoding,
  ENCODE_CAPACITY,
  type EncodedPieces,
  type EncodeSlot,
  MAX_CLUSTER_SIZE,
  type Piece,
} from "./cluster-encoder.ts";
import { LZ4_WASM } from "./lz4-wasm.ts";

/** Exported globals of the module: addresses in its memory. */
type Address = { readonly value: number };
interface Lz4Module {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly INPUT: Address;
  readonly OUTPUT: Address;
  readonly PIECES: Address;
  readonly EXTENTS: Address;
  encodeFast(pieces: number, blockSize: number, clusterSize: number, maxContent: number, tableBits: number): number;
  extentCount(): number;
}

/** Bytes of content in a cluster: to read a page of it, the kernel may have to unpack all that is ahead. */
const MAX_CONTENT = 1024 * 1024;
/** Clusters from this many bytes on may hold four times as much, since they are chosen for size. */
const LARGE_CLUSTER = 256 * 1024;
/**
 * log2 of entries of the table of `lz4`. 2^14 instead of 2^12 costs a tenth of the speed and saves 2 % in clusters of 64 KiB;
 * 4 KiB clusters hold too little for it (measured).
 */
const TABLE_BITS = { small: 12, large: 14 } as const;

/** One instance: its memory holds the input and the output of one call. */
export interface PieceEncoder {
  readonly input: Uint8Array;
  encode(pieces: readonly Piece[], encoding: ClusterEncoding): EncodedPieces;
}

/** What an encoder refuses, so that no bad call reaches the module, which checks nothing. */
function assertCall(pieces: readonly Piece[], { blockSize, clusterSize }: ClusterEncoding): void {
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

export function createLz4Encoder(): PieceEncoder {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(fromBase64(LZ4_WASM)));
  const module = instance.exports as unknown as Lz4Module; // what core/assembly/lz4.ts exports
  const { buffer } = module.memory; // of fixed size, so it is never detached
  return {
    input: new Uint8Array(buffer, module.INPUT.value, ENCODE_CAPACITY),
    encode(pieces, encoding) {
      assertCall(pieces, encoding);
      const { blockSize, clusterSize } = encoding;
      const table = new Uint32Array(buffer, module.PIECES.value, pieces.length * 2);
      for (const [i, { at, size }] of pieces.entries()) {
        table[2 * i] = at;
        table[2 * i + 1] = size;
      }
      const maxContent = clusterSize < LARGE_CLUSTER ? MAX_CONTENT : 4 * MAX_CONTENT;
      const tableBits = clusterSize <= 4 * 4096 ? TABLE_BITS.small : TABLE_BITS.large;
      const size = module.encodeFast(pieces.length, blockSize, clusterSize, maxContent, tableBits);
      return {
        bytes: new Uint8Array(buffer, module.OUTPUT.value, size),
        extents: new Uint32Array(buffer, module.EXTENTS.value, 2 * module.extentCount()),
      };
    },
  };
}

/** Encodes on the calling thread, one slot at a time. */
export function inlineClusterEncoder(): ClusterEncoder {
  const encoder = createLz4Encoder();
  const waiting: ((slot: EncodeSlot) => void)[] = [];
  let isFree = true;
  const slot: EncodeSlot = {
    input: encoder.input,
    encode: async (pieces, encoding) => encoder.encode(pieces, encoding),
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
