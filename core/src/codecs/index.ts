export * from "./cluster-encoder.ts";
export {
  type CompressionAlgorithm,
  type DecompressOptions,
  type Decompressor,
  type Placement,
  streamStart,
} from "./decompressor.ts";
export * from "./lz4-encoder.ts";
export { pureDecompressor } from "./pure.ts";
