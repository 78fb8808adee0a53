/** What the agent needs of the machine that it is for; tests give one in memory. */
import type { GptPartitionEntry } from "../../formats/gpt/index.ts";
import type { GenerationStore } from "../etc/index.ts";
import type { Device, EspFiles } from "../update/index.ts";
import type { MachineFacts, RunningRoot } from "./facts.ts";
import type { PolicyText } from "./policy.ts";
import type { RecordStore } from "./record.ts";
import type { WallClock } from "./schedule.ts";

export interface OpenedEspFiles extends EspFiles {
  /** The kernel lets nobody write to it. */
  readonly readOnly: boolean;
  /** What was put right before it was opened, for people. */
  readonly mended: readonly string[];
  /** Names that have to go before anything is changed: one of two of a file, or without its content. Nobody may use the volume then. */
  readonly unmended: readonly string[];
  /** What is wrong besides, and is left alone. */
  readonly damaged: readonly string[];
  close(): Promise<void>;
}

export interface OpenEspOptions {
  /** Puts right what a power cut left, where nobody uses it. Default false. */
  readonly mend?: boolean | undefined;
}

/** The disk that the machine runs from. */
export interface MachineDisk {
  readonly device: Device;
  openEsp(esp: GptPartitionEntry, options?: OpenEspOptions): Promise<OpenedEspFiles>;
  /** Who uses one of these partitions, in words; undefined where nobody does. */
  useOf(partitions: readonly GptPartitionEntry[]): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface MachineHost {
  facts(): Promise<MachineFacts>;
  /** Files of policy, in the order of their names. */
  policyFiles(): Promise<{ readonly sealed: readonly PolicyText[]; readonly local: readonly PolicyText[] }>;
  /** What lasts. */
  readonly records: RecordStore;
  /** Leaves of roots that are on the disk, by root hash: large, and of no harm when they are lost. */
  readonly recipes: RecordStore;
  /** What lasts until the next boot, and may be read by everybody. */
  readonly volatile: RecordStore;
  /** Milliseconds since 1970, as the machine believes. */
  clock(): number;
  /** What the clock on the wall of this machine says at a time. */
  readonly wallClock: WallClock;
  /** The layers of /etc; undefined where it lies in memory, or is none of ours. */
  generations(): Promise<GenerationStore | undefined>;
  /** Alone among all runs that change the machine. Throws SinkError `busy` with who has it. @param wait milliseconds */
  lock(verb: string, wait?: number): Promise<{ release(): Promise<void> }>;
  /** Whether somebody has that lock now; to be seen without privileges. */
  isLocked(): Promise<boolean>;
  openDisk(root: RunningRoot, access: "read" | "write"): Promise<MachineDisk>;
  /** Asks the system to reboot; resolves when it has taken the order. */
  reboot(): Promise<void>;
}
