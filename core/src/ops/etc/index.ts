export type { AccountConflictKind, Winner } from "./accounts.ts";
export * from "./carry.ts";
export * from "./changes.ts";
export * from "./layer.ts";
export * from "./merge.ts";
export * from "./mount.ts";
