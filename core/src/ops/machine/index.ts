export {
  efiFlag,
  efiText,
  GLOBAL_VENDOR,
  LOADER_VENDOR,
  type LoaderFacts,
  MAX_EFI_VARIABLE,
  type ReadEfiVariable,
  readLoaderFacts,
} from "./efi-variables.ts";
export { believedTime, type MachineFacts, type RunningRoot } from "./facts.ts";
export {
  appendHistory,
  HISTORY_FILE,
  type MachineEvent,
  MAX_EVENTS,
  parseHistory,
  readHistory,
} from "./history.ts";
export {
  type AgentRecord,
  type ChosenSource,
  EMPTY_RECORD,
  encodeRecord,
  isSameRelease,
  type KnownRelease,
  type PendingRelease,
  parseRecord,
  RECORD_FILE,
  type RecordStore,
  type RefusedRelease,
  type RunOutcome,
  readRecord,
  withRefused,
  withRelease,
  writeRecord,
} from "./record.ts";
export { parseVerityTable, type VerityTable } from "./verity-table.ts";
