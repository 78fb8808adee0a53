/**
 * The UKIs of an ESP as systemd-boot sees them: their counters, their order, the one that it would start.
 * Spec: UAPI.1, Type #2 entries, "Sorting" and "Boot counting"; systemd-boot(7). 252 to 261 agree in all of this.
 */
import { toHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { parseOsRelease } from "../build/os-release.ts";
import { readUki } from "../disk/disk.ts";
import { compareVersions } from "../release/compare-versions.ts";
import { isGuarded, withoutGuard } from "./entry-guard.ts";
import type { EspFile, EspFiles } from "./esp-files.ts";

/** Where Type #2 entries are on the ESP. */
export const ENTRY_FOLDER = "EFI/Linux";
/** Files in it that are looked at. */
const MAX_ENTRIES = 64;

/** How often an entry may still be started, and how often it was, without having been confirmed. */
export interface BootCounter {
  readonly left: number;
  readonly done: number;
}

export interface EntryName {
  /** Without counter and `.efi`. */
  readonly stem: string;
  /** Undefined: the entry is confirmed, or was never counted. */
  readonly counter: BootCounter | undefined;
}

/** What the boot loader's number parser takes: more than INT_MAX is no counter to it. */
const MAX_COUNT = 2 ** 31 - 1;

/** `STEM+LEFT-DONE.efi`, `STEM+LEFT.efi`, or `STEM.efi`; undefined for a file that is no entry. A counter that cannot be read is part of the stem. */
export function parseEntryName(name: string): EntryName | undefined {
  if (name.startsWith(".") || !/\.efi$/i.test(name)) return undefined;
  const whole = name.slice(0, -".efi".length);
  const counted = /^(.*)\+([0-9]+)(?:-([0-9]+))?$/s.exec(whole);
  if (counted === null) return { stem: whole, counter: undefined };
  const [left, done] = [Number(counted[2]), Number(counted[3] ?? "0")];
  if (left > MAX_COUNT || done > MAX_COUNT) return { stem: whole, counter: undefined };
  return { stem: counted[1]!, counter: { left, done } }; // the group always takes part
}

/** The file name; `-DONE` is left out where it is 0. */
export function formatEntryName({ stem, counter }: EntryName): string {
  if (counter === undefined) return `${stem}.efi`;
  return `${stem}+${counter.left}${counter.done > 0 ? `-${counter.done}` : ""}.efi`;
}

/** Whether FAT has lost a long name, and shows the short one of eight characters that stood behind it. */
export function isLostName({ stem }: Pick<EntryName, "stem">): boolean {
  return stem.length <= 8 && /^[^a-z.]+~[0-9]+$/.test(stem);
}

export interface BootEntry extends EntryName {
  /** Of the file, in {@link ENTRY_FOLDER}. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** From `.osrel`: IMAGE_ID, else ID. */
  readonly sortKey: string;
  /** From `.osrel`: IMAGE_VERSION, else VERSION, VERSION_ID, BUILD_ID. */
  readonly version: string;
  readonly commandLine: string;
  /** From `roothash=`, lower-case hexadecimal; undefined for an entry that starts something else. */
  readonly rootHash: string | undefined;
}

/** What the order of entries is made from. */
export type OrderedEntry = Pick<BootEntry, "name" | "counter" | "sortKey" | "version">;

/** Negative where `a` stands before `b` in the menu. */
export function compareEntries(a: OrderedEntry, b: OrderedEntry): number {
  return (
    Number(isBad(a)) - Number(isBad(b)) ||
    Number(a.sortKey === "") - Number(b.sortKey === "") ||
    compareUnits(a.sortKey, b.sortKey) ||
    (a.sortKey === "" ? 0 : -compareVersions(a.version, b.version)) ||
    -compareVersions(a.name.toLowerCase(), b.name.toLowerCase()) ||
    compareCounters(a.counter, b.counter)
  );
}

/** No tries are left: it comes last, and is started only where all others are bad too. */
export function isBad({ counter }: Pick<EntryName, "counter">): boolean {
  return counter?.left === 0;
}

function compareUnits(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1; // by UTF-16 units, as the loader does
}

function compareCounters(a: BootCounter | undefined, b: BootCounter | undefined): number {
  return a === undefined || b === undefined ? 0 : b.left - a.left || a.done - b.done;
}

/** The entry that is started where nobody pins one: the first of the menu. */
export function chosenEntry<E extends OrderedEntry>(entries: readonly E[]): E | undefined {
  return entries.toSorted(compareEntries)[0];
}

export interface BootEntries {
  /** In the order of the menu. */
  readonly entries: readonly BootEntry[];
  /** Files that are named as entries, but the boot loader passes over: no PE image, or one without the sections of a UKI. */
  readonly unusable: readonly { readonly name: string; readonly size: number; readonly why: string }[];
  /** Files that a broken run was about to name or to remove, see entry-guard.ts; the boot loader passes over them too. */
  readonly guarded: readonly (EspFile & {
    /** As it is once it may be started; undefined where it is no UKI. */
    readonly entry: BootEntry | undefined;
  })[];
}

/** Reads what is in {@link ENTRY_FOLDER}. Throws what the port throws, but for what is wrong with single files. */
export async function readBootEntries(esp: EspFiles, options: ReadOptions = {}): Promise<BootEntries> {
  const entries: BootEntry[] = [];
  const unusable: { name: string; size: number; why: string }[] = [];
  const guarded: BootEntries["guarded"][number][] = [];
  const files = (await esp.list(ENTRY_FOLDER)).toSorted((a, b) => compareUnits(a.name, b.name));
  for (const { name, size } of files) {
    const parsed = parseEntryName(name);
    if (parsed === undefined) continue;
    if (entries.length + unusable.length + guarded.length === MAX_ENTRIES) break;
    const content = await esp.open(`${ENTRY_FOLDER}/${name}`);
    let isHeldBack = false;
    try {
      isHeldBack = await isGuarded(content, options);
      const read = await readEntry(isHeldBack ? withoutGuard(content) : content, name, options);
      const entry = { ...parsed, name, size, ...read };
      if (isHeldBack) guarded.push({ name, size, entry });
      else entries.push(entry);
    } catch (error) {
      if (!isAshlarError(error) || error.kind === "SourceError") throw error;
      if (isHeldBack) guarded.push({ name, size, entry: undefined });
      else unusable.push({ name, size, why: error.message });
    } finally {
      await content.close();
    }
  }
  return { entries: entries.toSorted(compareEntries), unusable, guarded };
}

async function readEntry(content: Source, name: string, options: ReadOptions) {
  const uki = await readUki(content, name, options);
  const osRelease = parseOsRelease(uki.osRelease);
  const first = (...keys: string[]) => keys.map((key) => osRelease.get(key)).find((value) => value) ?? "";
  return {
    sortKey: first("IMAGE_ID", "ID"),
    version: first("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"),
    commandLine: uki.commandLine,
    rootHash: uki.rootHash === undefined ? undefined : toHex(uki.rootHash),
  };
}
