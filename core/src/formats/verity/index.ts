export * from "./check.ts";
export { MAX_BLOCK_SIZE, MAX_SALT_SIZE, MIN_BLOCK_SIZE, RawVeritySuperblock } from "./format.ts";
export {
  dataBlockHash,
  hashDeviceSize,
  layoutHashTree,
  sameDigest,
  type TreeLayout,
  type TreeLevel,
  type VerityParameters,
} from "./geometry.ts";
export * from "./leaves.ts";
export * from "./read.ts";
export { type VerifiedSourceOptions, verifiedSource } from "./verified.ts";
export * from "./write.ts";
