export {
  type BootCounter,
  type BootEntries,
  type BootEntry,
  chosenEntry,
  compareEntries,
  ENTRY_FOLDER,
  type EntryName,
  formatEntryName,
  isBad,
  type OrderedEntry,
  parseEntryName,
  readBootEntries,
} from "./boot-entries.ts";
export { type ContentEnvironment, fileContent, type ReleaseContent, storedContent } from "./content.ts";
export type { Device } from "./device.ts";
export type { EspFile, EspFiles, EspWriteOptions } from "./esp-files.ts";
export { type DiskShape, fitGeometry, type Sizes } from "./fit.ts";
export { type Installed, type InstallOptions, installRelease } from "./install.ts";
export type { Machine, Staged, StageOptions, StageStep } from "./machine.ts";
export { checkEsp, espVolume, mendEsp } from "./mend-esp.ts";
export { type RolledBack, rollbackTo } from "./rollback.ts";
export { type RunningSlot, readSlots, runningSlot, type Slot, type SlotName, type Slots } from "./slots.ts";
export { stageRelease } from "./stage.ts";
export { removeEntries } from "./stage-entry.ts";
