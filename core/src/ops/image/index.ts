export { isHostXattr } from "./apply.ts";
export { openArchiveTree } from "./archive.ts";
export { createdOf } from "./created.ts";
export type { LayerEntry } from "./entries.ts";
export {
  type FlatImage,
  type FlattenEnvironment,
  type FlattenOptions,
  flatten,
  type OpenContentStore,
} from "./flatten.ts";
export {
  architectureOfElf,
  architectureOfTree,
  type ExportedImage,
  type HostInputs,
  type HostStream,
  type HostTreeOptions,
  type Input,
  type InputEnvironment,
  type InputOptions,
  readInput,
} from "./input.ts";
export type { ContentStore, Decompressors } from "./layer.ts";
export {
  type Admission,
  type Candidate,
  type HostFiles,
  type HostRegistries,
  type Image,
  type ImageLayer,
  nameOf,
  type OpenImageEnvironment,
  type OpenImageOptions,
  openImage,
  openRepository,
} from "./open.ts";
export { parseReference, REFERENCE_FORMS, type Reference } from "./reference.ts";
