export * from "./disk.ts";
export * from "./open-root.ts";
