export type { CompressionOptions } from "./compression.ts";
export * from "./seal.ts";
export * from "./seal-content.ts";
