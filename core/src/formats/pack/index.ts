export {
  FILTERS,
  FRAME_SIZE,
  MAX_BLOCKS,
  MAX_PACKS,
  MAX_RECIPE_SIZE,
  MAX_RUNS,
  RawLeavesHeader,
  RawPackEntry,
  RawRecipeHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
} from "./format.ts";
export * from "./pack.ts";
export * from "./recipe.ts";
export { blocksPerFrame, layoutPack, leavesFrameSize, maxFrameSize, type PackShape, seekTableSize } from "./shape.ts";
export { type CompressFrames, type PackWriter, packWriter } from "./write.ts";
