export * from "./seal.ts";
export * from "./seal-content.ts";
