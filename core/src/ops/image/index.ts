export { isHostXattr } from "./apply.ts";
export { type FlatImage, type FlattenEnvironment, type FlattenOptions, flatten } from "./flatten.ts";
export type { Decompressors } from "./layer.ts";
export {
  type HostFiles,
  type Image,
  type ImageLayer,
  type OpenImageEnvironment,
  type OpenImageOptions,
  openImage,
} from "./open.ts";
export { parseReference, type Reference } from "./reference.ts";
