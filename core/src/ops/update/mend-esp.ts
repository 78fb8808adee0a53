/** What a power cut leaves of an ESP on which UKIs were being written and renamed, by us, systemd-boot or systemd-bless-boot. */
import { checkFat, type FatMedium, type MendReport, mendFat } from "../../formats/fat/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { ENTRY_FOLDER, isLostName, parseEntryName } from "./boot-entries.ts";
import type { Device } from "./device.ts";
import type { Slots } from "./slots.ts";

/** The ESP of a disk that nobody has mounted. */
export function espVolume(device: Device, { start, size }: Pick<Slots["esp"], "start" | "size">): FatMedium {
  return {
    size,
    read: (offset, length, options) => device.read(start + offset, length, options),
    writeAt: (offset, bytes) => device.writeAt(start + offset, bytes),
    flush: () => device.flush(),
  };
}

/**
 * Mends the ESP. Nobody may have it mounted. Of two names of one file the later stays, as far as that can be told: an entry and
 * not a temporary file, a confirmed entry, one with fewer tries left; but of a name of which only the short one is left nobody
 * knows whether it was counted, so the other stays. Files of ours that are broken go, and temporary ones of systemd; what is
 * wrong elsewhere is left and told. Throws FormatError `fat-chain`, `bad-fat`; what the device throws.
 */
export function mendEsp(volume: FatMedium, options?: ReadOptions): Promise<MendReport> {
  return mendFat(volume, { dropsAlias, dropsBroken }, options);
}

/** What {@link mendEsp} would do. It may be mounted: nothing is written. */
export function checkEsp(volume: Source, options?: ReadOptions): Promise<MendReport> {
  return checkFat(volume, { dropsAlias, dropsBroken }, options);
}

function entryOf(path: string) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return parseEntryName(name);
}

function dropsAlias(path: string, other: string): boolean {
  const [one, two] = [entryOf(path), entryOf(other)];
  if (one === undefined || two === undefined) return one === undefined;
  if (isLostName(one) !== isLostName(two)) return isLostName(one);
  return (one.counter?.left ?? -1) > (two.counter?.left ?? -1);
}

/** What is ours, and what systemd was writing: bootctl's random seed and loader.conf get their names when they are whole. */
function dropsBroken(path: string): boolean {
  const isTemporary = path.slice(path.lastIndexOf("/") + 1).startsWith(SYSTEMD_TEMPORARY);
  return isTemporary || path.toLowerCase().startsWith(`${ENTRY_FOLDER.toLowerCase()}/`);
}

/** How names of systemd's temporary files begin (tempfn_random() of its tmpfile-util.c). */
const SYSTEMD_TEMPORARY = ".#";
