export { type ContentEnvironment, fileContent, type ReleaseContent, storedContent } from "./content.ts";
export type { Device } from "./device.ts";
export { type DiskShape, fitGeometry, type Sizes } from "./fit.ts";
export { type Installed, type InstallOptions, installRelease } from "./install.ts";
