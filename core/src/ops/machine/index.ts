export { type AutoReport, auto } from "./auto.ts";
export { recordBoot } from "./booted.ts";
export type { UpgradeOptions, UpgradeReport } from "./bring.ts";
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
export { carryPendingEtc, describeCarried, etcOfSlot } from "./etc.ts";
export { POLICY_EXAMPLE } from "./example.ts";
export { believedTime, type MachineFacts, type RunningRoot } from "./facts.ts";
export { collectGarbage, type Garbage } from "./garbage.ts";
export {
  checkHealth,
  HEALTH_FOLDERS,
  type HealthCheck,
  type HealthHost,
  type HealthProgram,
  type HealthReport,
  MAX_HEALTH_CHECKS,
  MAX_HEALTH_OUTPUT,
  type ProgramOutcome,
  recordHealth,
} from "./health.ts";
export {
  appendHistory,
  HISTORY_FILE,
  MAX_EVENTS,
  type MachineEvent,
  parseHistory,
  readHistory,
} from "./history.ts";
export type { MachineDisk, MachineHost, OpenEspOptions, OpenedEspFiles } from "./host.ts";
export { type LocalEtc, withLocalEtc } from "./local-etc.ts";
export type { AgentEnvironment } from "./look.ts";
export { settle } from "./outcome.ts";
export {
  LOCAL_POLICY_FOLDER,
  MAX_POLICY_FILE,
  MAX_POLICY_FILES,
  type PolicyText,
  parseDuration,
  readPolicyFiles,
  SEALED_POLICY_FOLDER,
  type UpdatePolicy,
} from "./policy.ts";
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
  type UnderwayRun,
  withRefused,
  withRelease,
  writeRecord,
} from "./record.ts";
export { type RollbackReport, rollback } from "./rollback.ts";
export { type Run, withRun } from "./run.ts";
export {
  type CheckTimes,
  isInside,
  nextCheck,
  nextOpening,
  parseWindow,
  utcWallClock,
  type WallClock,
  type WallTime,
  type Window,
} from "./schedule.ts";
export { type AshlarStatus, describeStatus, machineStatus, type Status } from "./status.ts";
export type { StatusRelease } from "./status-releases.ts";
export { sourceKindOf, type TrackedSource, trackedSource } from "./tracked-source.ts";
export { describeUnderway, type RunStep } from "./underway.ts";
export { switchSource, upgrade } from "./upgrade.ts";
export { parseVerityTable, type VerityTable } from "./verity-table.ts";
export { type MachineView, type SlotView, viewDisk } from "./view.ts";
