/** What a power cut leaves of an ESP on which UKIs were being written and renamed, by us, systemd-boot or systemd-bless-boot. */
import { type MendReport, mendFat } from "../../formats/fat/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { ENTRY_FOLDER, parseEntryName } from "./boot-entries.ts";
import type { Device } from "./device.ts";
import type { Slots } from "./slots.ts";

/**
 * Mends the ESP. Nobody may have it mounted. Of two names of one file the later stays, as far as that can be told: an entry and
 * not a temporary file, a confirmed entry, one with fewer tries left. Files of ours that are broken go; what is
 * wrong elsewhere is left and told. Throws FormatError `fat-chain`, `bad-fat`; what the device throws.
 */
export function mendEsp(device: Device, { esp }: Pick<Slots, "esp">, options?: ReadOptions): Promise<MendReport> {
  const volume = {
    size: esp.size,
    read: (offset: number, length: number) => device.read(esp.start + offset, length, options),
    writeAt: (offset: number, bytes: Uint8Array) => device.writeAt(esp.start + offset, bytes),
    flush: () => device.flush(),
  };
  return mendFat(volume, { dropsAlias, dropsBroken }, options);
}

function entryOf(path: string) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return parseEntryName(name);
}

function dropsAlias(path: string, other: string): boolean {
  const [one, two] = [entryOf(path), entryOf(other)];
  if (one === undefined || two === undefined) return one === undefined;
  return (one.counter?.left ?? -1) > (two.counter?.left ?? -1);
}

function dropsBroken(path: string): boolean {
  return path.toLowerCase().startsWith(`${ENTRY_FOLDER.toLowerCase()}/`);
}
