export { type BlockWriter, blockWriter } from "./blocks.ts";
export * from "./check.ts";
export { MAX_CHUNK_SIZE } from "./chunks.ts";
export type { Compression, CompressionHints, CompressionMethod } from "./compress-method.ts";
export type { StoredData, Tails } from "./data.ts";
export * from "./dump.ts";
export { splitTime } from "./inodes.ts";
export * from "./reader.ts";
export * from "./write.ts";
