export * from "./hash.ts";
export * from "./pure.ts";
