export { ALGORITHM_NUMBERS, MAX_BLOCK_SIZE, MAX_SALT_SIZE, MIN_BLOCK_SIZE, RawDescriptor } from "./format.ts";
export {
  assertFsverityParameters,
  defaultFsverity,
  type FsverityParameters,
  layoutMerkleTree,
  type MerkleLayout,
} from "./geometry.ts";
export {
  createMeasurer,
  type Measurement,
  type MeasureOptions,
  type Measurer,
  type MeasurerOptions,
  measureBytes,
  measureSource,
  SMALL_SOURCE,
} from "./measure.ts";
export { assertFsverityDigest, type FsveritySourceOptions, verifiedFsveritySource } from "./verified.ts";
