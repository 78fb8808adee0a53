export * from "./branch-filter.ts";
export * from "./cluster-encoder.ts";
export {
  type CompressionAlgorithm,
  type DecompressOptions,
  type Decompressor,
  type Placement,
  streamStart,
} from "./decompressor.ts";
export type { FrameMaker } from "./frame-clusters.ts";
export * from "./piece-encoder.ts";
export { pureDecompressor } from "./pure.ts";
export * from "./zstd-frame.ts";
