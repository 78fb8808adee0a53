/** The machine that is updated, as its host has found it, and what an update says of itself. */
import type { Source } from "../../source/index.ts";
import type { Architecture } from "../build/architecture.ts";
import type { Device } from "./device.ts";
import type { EspFiles } from "./esp-files.ts";
import type { SlotName } from "./slots.ts";

export interface Machine {
  /** The disk that carries the running root. */
  readonly device: Device;
  /** Of that disk. */
  readonly esp: EspFiles;
  readonly architecture: Architecture["systemd"];
  /** Root hash of the kernel's dm-verity table, lower-case hexadecimal. */
  readonly running: string;
}

/** What an update does one after the other; docs/updates.md has the picture. */
export type StageStep = "preflight" | "invalidate" | "blocks" | "tree" | "read-back" | "label" | "entry";

export interface StageOptions {
  /** How often the new release is tried before the old one is started again; default 3. */
  readonly tries?: number | undefined;
  /** Recipes by root hash, as earlier updates have left them; those of the two slots are of use. */
  readonly recipes?: ReadonlyMap<string, Uint8Array> | undefined;
  /** Go on though what runs has not been confirmed yet, and so may be no release to fall back to. */
  readonly ignoreUnconfirmed?: boolean | undefined;
  /** The UKI keeps its temporary name: all is there, and what was started before is started still. */
  readonly hold?: boolean | undefined;
  /**
   * Called with the whole new root before anything changes, unless it is the one that runs: what it throws ends the run. Each block
   * is checked; it comes from a slot where one has it.
   */
  readonly onRoot?: ((root: Source) => Promise<void>) | undefined;
  /** Called once the slot holds the root, and before the UKI gets a name that is started. What it throws ends the run. */
  readonly beforeEntry?: (() => Promise<void>) | undefined;
  /** Called before a step begins, and waited for. What is not needed is left out. */
  readonly onStep?: ((step: StageStep) => void | Promise<void>) | undefined;
}

export interface Staged {
  /** `none`: all of it was there. `uki`: the root is the one that runs, and got another UKI. */
  readonly change: "none" | "uki" | "slot";
  readonly slot: SlotName;
  readonly rootHash: string;
  /** File name of the entry that is started next, or would be once it is held back no longer. */
  readonly entry: string;
  readonly held: boolean;
  /** Bytes that came from a repository for root, kernel and initrd, as they are stored there. */
  readonly fetched: number;
  /** Bytes of the root: those that were in their places, those that were copied from a slot, and the rest. */
  readonly blocks: { readonly total: number; readonly kept: number; readonly copied: number; readonly fetched: number };
  /** To be kept for the next update under the root hash. */
  readonly recipe: Uint8Array | undefined;
}
