export {
  type CompressionAlgorithm,
  type DecompressOptions,
  type Decompressor,
  type Placement,
  streamStart,
} from "./decompressor.ts";
export { pureDecompressor } from "./pure.ts";
