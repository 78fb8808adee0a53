/** One look at a machine: what runs, what the slots hold, what the boot loader would start. A plain value. */
import { isAshlarError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { architectureOf } from "../build/architecture.ts";
import {
  type BootCounter,
  chosenEntry,
  isBad,
  parseEntryName,
  readBootEntries,
  readSlots,
  runningSlot,
  type Slots,
} from "../update/index.ts";
import type { MachineFacts, RunningRoot } from "./facts.ts";
import type { MachineDisk, OpenEspOptions, OpenedEspFiles } from "./host.ts";

export interface EntryView {
  /** Of the file in EFI/Linux. */
  readonly file: string;
  /** Without the counter and `.efi`. */
  readonly stem: string;
  readonly version: string;
  /** IMAGE_ID, which the boot loader sorts by. */
  readonly product: string;
  readonly rootHash: string | undefined;
  /** Undefined for one that is confirmed, or was never counted. */
  readonly counter: BootCounter | undefined;
  /** No tries are left. */
  readonly bad: boolean;
}

export interface SlotView {
  readonly name: "a" | "b";
  readonly running: boolean;
  /** Undefined for a free slot. */
  readonly rootHash: string | undefined;
  readonly label: string;
  /** Bytes for a root. */
  readonly size: number;
}

/** Something that is wrong with the machine, and does not keep it from being looked at. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

export interface MachineView {
  readonly facts: MachineFacts;
  readonly slots: readonly SlotView[];
  /** In the order of the boot loader's menu. */
  readonly entries: readonly EntryView[];
  /** Entries that a broken run was about to rename or to remove: the boot loader passes over them until another goes on. */
  readonly heldBack: readonly { readonly file: string; readonly rootHash: string | undefined }[];
  /** The file that the boot loader starts next, where nobody chooses. */
  readonly next: string | undefined;
  readonly esp: { readonly place: string; readonly free: number; readonly readOnly: boolean } | undefined;
  readonly problems: readonly Problem[];
}

/** Throws UnsupportedError `not-a-machine` where no sealed root runs, or nobody may see it; PolicyError `two-disks`. */
export function assertMachine({ root }: MachineFacts): RunningRoot {
  if (root === undefined)
    throw new UnsupportedError("not-a-machine", "this machine does not run from a sealed root of Ashlar");
  if (root.from !== "kernel")
    throw new UnsupportedError("not-a-machine", "the kernel's table of the root is not to be seen; root may see it");
  if (root.otherDisk !== undefined)
    throw new PolicyError(
      "two-disks",
      `the root runs from ${root.disk}, its hash tree from ${root.otherDisk}: two disks with the same image are attached`,
    );
  return root;
}

/** The entry that was booted. Of two that start the same root the loader's own word decides. */
export function runningEntry({ facts, entries }: Pick<MachineView, "facts" | "entries">): EntryView | undefined {
  const starting = entries.filter(({ rootHash }) => rootHash !== undefined && rootHash === facts.root?.rootHash);
  if (starting.length < 2) return starting[0];
  const selected = parseEntryName(facts.loader.selectedEntry ?? "")?.stem.toLowerCase();
  return starting.find(({ stem }) => stem.toLowerCase() === selected);
}

/**
 * What of a machine cannot be read is a problem in the view. Throws what is thrown where the disk has no slots, or where
 * none of them is the one that runs.
 */
export async function viewDisk(
  facts: MachineFacts,
  disk: MachineDisk,
  { withoutEsp = false, ...options }: OpenEspOptions & { readonly withoutEsp?: boolean | undefined } = {},
): Promise<{ readonly view: MachineView; readonly slots: Slots; readonly esp: OpenedEspFiles | undefined }> {
  const root = assertMachine(facts);
  const slots = await readSlots(disk.device, architectureOf(facts.architecture).systemd);
  const { running } = runningSlot(slots, root.rootHash);
  const problems: Problem[] = [];
  const { primary, backup } = slots.gpt;
  for (const [name, table] of Object.entries({ primary, backup }))
    if (!table.valid) problems.push({ code: "gpt", message: `the ${name} partition table: ${table.error.message}` });
  if (root.corrupted === true)
    problems.push({ code: "corrupted", message: "a block of the running root did not match its hash" });

  const seen = withoutEsp ? UNSEEN : await lookAtEsp(disk, slots, options);
  const views = slots.slots.map((slot) => ({
    name: slot.name,
    running: slot === running,
    rootHash: slot === running ? root.rootHash : slot.rootHash,
    label: slot.root.name,
    size: slot.root.size,
  }));
  const { esp, entries, heldBack, next, place } = seen;
  const all = [...problems, ...seen.problems];
  return { view: { facts, slots: views, entries, heldBack, next, esp: place, problems: all }, slots, esp };
}

interface SeenEsp extends Pick<MachineView, "entries" | "heldBack" | "next" | "problems"> {
  readonly esp: OpenedEspFiles | undefined;
  readonly place: MachineView["esp"];
}

const UNSEEN: SeenEsp = { esp: undefined, entries: [], heldBack: [], next: undefined, place: undefined, problems: [] };

/** Opened, it is returned even where it could not be read: the caller closes it. */
async function lookAtEsp(disk: MachineDisk, slots: Slots, options: OpenEspOptions): Promise<SeenEsp> {
  let esp: OpenedEspFiles | undefined;
  try {
    esp = await disk.openEsp(slots.esp, options);
    const { entries, unusable, guarded } = await readBootEntries(esp);
    const problems = [
      ...(esp.readOnly ? [{ code: "esp-read-only", message: `${esp.name}: the ESP is mounted read-only` }] : []),
      ...esp.unmended.map((name) => ({
        code: "esp-damaged",
        message: `${esp?.name}: ${name} is one of two names of a file, or has lost its content: the next run mends it once nobody uses the ESP`,
      })),
      ...esp.damaged.map((what) => ({ code: "esp-damaged", message: `${esp?.name}: ${what}` })),
      ...unusable.map(({ name, why }) => ({
        code: "entry",
        message: `${name}: the boot loader passes over it: ${why}`,
      })),
      ...guarded.map(({ name }) => ({
        code: "entry",
        message: `${name}: the boot loader passes over it: a run was broken off that was renaming or removing it`,
      })),
    ];
    return {
      esp,
      problems,
      next: chosenEntry(entries)?.name,
      heldBack: guarded.map(({ name, entry }) => ({ file: name, rootHash: entry?.rootHash })),
      place: { place: esp.name, free: await esp.free(), readOnly: esp.readOnly },
      entries: entries.map((entry) => ({
        file: entry.name,
        stem: entry.stem,
        version: entry.version,
        product: entry.sortKey,
        rootHash: entry.rootHash,
        counter: entry.counter,
        bad: isBad(entry),
      })),
    };
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return { ...UNSEEN, esp, problems: [{ code: "esp", message: error.message }] };
  }
}
