export { type SideImage, UPDATE_BLOCK_SIZE } from "./blocks.ts";
export type { Aspect } from "./compare.ts";
export * from "./diff.ts";
export { type DiffSide, openDiffSide } from "./open.ts";
