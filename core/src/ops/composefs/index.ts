export { type ComposefsDiff, diffStored, type FirstDifference } from "./diff.ts";
export { type ComposefsInfo, composefsInfo, objectsOf } from "./info.ts";
export { contentsOf, type StoreEnvironment, storeContents } from "./store.ts";
export {
  type Preparation,
  type PrepareOptions,
  readStoredFile,
  readStoredStream,
  type StoredTree,
  withPreparedInput,
} from "./subject.ts";
export { storedAlgorithm, writeStored } from "./write.ts";
