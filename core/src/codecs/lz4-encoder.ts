/** The LZ4 encoder of core/assembly/lz4.ts. */
import { fromBase64 } from "../bytes/index.ts";
import { type ClusterEncoding, ENCODE_CAPACITY, type EncodedPieces, type Piece } from "./cluster-encoder.ts";
import { LZ4_WASM } from "./lz4-wasm.ts";

/** Exported globals of the module: addresses in its memory. */
type Address = { readonly value: number };
interface Lz4Module {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly INPUT: Address;
  readonly OUTPUT: Address;
  readonly PIECES: Address;
  readonly EXTENTS: Address;
  encode(
    pieces: number,
    blockSize: number,
    clusterSize: number,
    maxContent: number,
    tableBits: number,
    headBits: number,
    depth: number,
  ): number;
  extentCount(): number;
}

/** Bytes of content in a cluster: to read a page of it, the kernel may have to unpack all that is ahead. */
const MAX_CONTENT = 1024 * 1024;
/** Clusters from this many bytes on may hold four times as much, since they are chosen for size. */
const LARGE_CLUSTER = 256 * 1024;
/** Bytes; of clusters up to here the content is a few blocks, and smaller tables hold all of it. */
const SMALL_CLUSTER = 4 * 4096;
/**
 * log2 of entries of the table of `lz4`. Of clusters of 64 KiB 2^14 entries instead of 2^13 save 1.1 % and cost a fifth of
 * the speed, 2^12 instead of 2^13 lose 1.8 % and gain nothing (measured).
 */
const TABLE_BITS = { small: 12, large: 13 } as const;
/** log2 of chains of `lz4hc`: 16 instead of 14 save a twelfth of the time, 18 instead of 16 of large clusters an eighth (measured). */
const HEAD_BITS = { small: 16, large: 18 } as const;
/** Candidates for a match at the lowest levels; from the sixth on each level tries twice as many, the ninth 64. */
const LEAST_DEPTH = 4;

function depthOf(level: number): number {
  return Math.max(LEAST_DEPTH, 2 ** (level - 3));
}

/** One instance: its memory holds the input and the output of one call, which it does not check. */
export interface Lz4Encoder {
  readonly input: Uint8Array;
  encode(pieces: readonly Piece[], encoding: ClusterEncoding): EncodedPieces;
}

export function createLz4Encoder(): Lz4Encoder {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(fromBase64(LZ4_WASM)));
  const module = instance.exports as unknown as Lz4Module; // what core/assembly/lz4.ts exports
  const { buffer } = module.memory; // of fixed size, so it is never detached
  return {
    input: new Uint8Array(buffer, module.INPUT.value, ENCODE_CAPACITY),
    encode(pieces, encoding) {
      const { blockSize, clusterSize } = encoding;
      const table = new Uint32Array(buffer, module.PIECES.value, pieces.length * 2);
      for (const [i, { at, size }] of pieces.entries()) {
        table[2 * i] = at;
        table[2 * i + 1] = size;
      }
      const maxContent = clusterSize < LARGE_CLUSTER ? MAX_CONTENT : 4 * MAX_CONTENT;
      const kind = clusterSize <= SMALL_CLUSTER ? "small" : "large";
      const depth = encoding.algorithm === "lz4hc" ? depthOf(encoding.level) : 0;
      const size = module.encode(
        pieces.length,
        blockSize,
        clusterSize,
        maxContent,
        TABLE_BITS[kind],
        HEAD_BITS[kind],
        depth,
      );
      return {
        bytes: new Uint8Array(buffer, module.OUTPUT.value, size),
        extents: new Uint32Array(buffer, module.EXTENTS.value, 2 * module.extentCount()),
      };
    },
  };
}
