export type { CompressionOptions } from "./compression.ts";
export type { Landing } from "./landing.ts";
export * from "./seal.ts";
export * from "./seal-content.ts";
