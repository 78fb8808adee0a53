/**
 * Changes entries of a partition table that is there, whoever made it: places, sizes, unknown entries and everything else stay
 * as they are. Both tables are made from the one that counts, so that a lost one comes back.
 */
import { crc32, parseUuid, swapGuid, type Uuid } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { MAX_NAME_LENGTH, RawGptEntry, RawGptHeader } from "./format.ts";
import { type GptTable, openGpt } from "./read.ts";
import { encodeName } from "./write.ts";

/** New values for the partition with this number; what is left out stays. */
export interface GptChange {
  readonly number: number;
  readonly typeGuid?: Uuid;
  readonly partitionGuid?: Uuid;
  readonly attributes?: bigint;
  readonly name?: string;
}

/** Bytes for a place of the disk. */
export interface GptWrite {
  /** Bytes from the start of the disk. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface GptEdit {
  /**
   * What has to be written first, and flushed, since the primary table is lost: the backup's content without the changes. Else
   * a write that is torn would leave no table at all.
   */
  readonly repair: readonly GptWrite[];
  /** Entries and header. To be written and flushed before the primary ones, which count until then. */
  readonly backup: readonly GptWrite[];
  readonly primary: readonly GptWrite[];
  /** Whether both tables say all of this already. */
  readonly isDone: boolean;
}

/**
 * Throws as `openGpt`; RangeError for a partition that is not there or a name that is too long; UnsupportedError
 * `gpt-backup-room` where a lost backup cannot be put back.
 */
export async function planGptEdit(
  disk: Source,
  changes: readonly GptChange[],
  options?: ReadOptions,
): Promise<GptEdit> {
  const { sectorSize, primary, backup, used } = await openGpt(disk, options);
  const state = used === "primary" ? primary : backup;
  const other = used === "primary" ? backup : primary;
  if (!state.valid) throw new TypeError("a table that is not valid was used"); // openGpt throws then
  const { table } = state;
  const header = Uint8Array.from(await disk.read(table.headerLba * sectorSize, sectorSize, options));
  const old = Uint8Array.from(await disk.read(table.entriesStart, table.entriesSize, options));
  const entries = changed(old, table, RawGptHeader.view(header).entrySize, changes);

  const places = { [used]: placeOf(table) } as Partial<Record<"primary" | "backup", TablePlace>>;
  const primaryPlace = places.primary ?? (primary.valid ? placeOf(primary.table) : firstPlace(sectorSize));
  const backupPlace =
    places.backup ??
    (backup.valid ? placeOf(backup.table) : lastPlace(table, sectorSize, Math.floor(disk.size / sectorSize)));

  const tableFor = (own: TablePlace, alternate: TablePlace, content: Uint8Array): readonly GptWrite[] => [
    { offset: own.entriesStart, bytes: padded(content, sectorSize) },
    { offset: own.headerLba * sectorSize, bytes: headerFor(header, own, alternate, content, sectorSize) },
  ];
  const edit = {
    repair: primary.valid ? [] : tableFor(primaryPlace, backupPlace, old),
    backup: tableFor(backupPlace, primaryPlace, entries),
    primary: tableFor(primaryPlace, backupPlace, entries),
  };
  const isDone = other.valid && (await isThere(disk, [...edit.backup, ...edit.primary], options));
  return { ...edit, isDone };
}

interface TablePlace {
  /** Sectors. */
  readonly headerLba: number;
  /** Bytes from the start of the disk. */
  readonly entriesStart: number;
}

function placeOf({ headerLba, entriesStart }: GptTable): TablePlace {
  return { headerLba, entriesStart };
}

function firstPlace(sectorSize: number): TablePlace {
  return { headerLba: 1, entriesStart: 2 * sectorSize };
}

/** Where the primary header says that the other one is, if that is on the disk; the entries stand in front of it. */
function lastPlace(table: GptTable, sectorSize: number, sectors: number): TablePlace {
  const headerLba = table.alternateLba > 1 && table.alternateLba < sectors ? table.alternateLba : sectors - 1;
  const entriesStart = headerLba * sectorSize - Math.ceil(table.entriesSize / sectorSize) * sectorSize;
  if (entriesStart < table.usableEnd)
    throw new UnsupportedError(
      "gpt-backup-room",
      `gpt: the backup table is lost, and there is no room for one behind byte ${table.usableEnd}`,
      { offset: table.usableEnd },
    );
  return { headerLba, entriesStart };
}

function changed(old: Uint8Array, table: GptTable, entrySize: number, changes: readonly GptChange[]): Uint8Array {
  const entries = Uint8Array.from(old);
  for (const { number, typeGuid, partitionGuid, attributes, name } of changes) {
    const there = table.partitions.find((partition) => partition.number === number);
    if (there === undefined) throw new RangeError(`gpt partition ${number} is not there`);
    if (name !== undefined && name.length > MAX_NAME_LENGTH)
      throw new RangeError(`gpt partition ${number}: name has ${name.length} UTF-16 units`);
    const at = (number - 1) * entrySize;
    const raw = RawGptEntry.view(entries, at);
    const values = {
      typeGuid: typeGuid === undefined ? raw.typeGuid : swapGuid(parseUuid(typeGuid)),
      partitionGuid: partitionGuid === undefined ? raw.partitionGuid : swapGuid(parseUuid(partitionGuid)),
      startingLba: raw.startingLba,
      endingLba: raw.endingLba,
      attributes: attributes ?? raw.attributes,
      name: name === undefined ? raw.name : encodeName(name),
    };
    entries.set(RawGptEntry.encode(values), at);
  }
  return entries;
}

function padded(bytes: Uint8Array, sectorSize: number): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / sectorSize) * sectorSize);
  whole.set(bytes);
  return whole;
}

function headerFor(
  model: Uint8Array,
  own: TablePlace,
  alternate: TablePlace,
  entries: Uint8Array,
  sectorSize: number,
): Uint8Array {
  const bytes = Uint8Array.from(model);
  const raw = RawGptHeader.view(model);
  const values = {
    ...copyOf(raw),
    headerCrc: 0,
    myLba: own.headerLba,
    alternateLba: alternate.headerLba,
    entriesLba: own.entriesStart / sectorSize,
    entriesCrc: crc32(entries),
  };
  bytes.set(RawGptHeader.encode(values)); // what a later revision has behind it stays
  bytes.set(RawGptHeader.encode({ ...values, headerCrc: crc32(bytes.subarray(0, raw.headerSize)) }));
  return bytes;
}

function copyOf(raw: ReturnType<typeof RawGptHeader.view>): ReturnType<typeof RawGptHeader.view> {
  const { signature, revision, headerSize, headerCrc, reserved, myLba, alternateLba } = raw;
  const { firstUsableLba, lastUsableLba, diskGuid, entriesLba, entryCount, entrySize, entriesCrc } = raw;
  const places = { myLba, alternateLba, firstUsableLba, lastUsableLba, diskGuid, entriesLba };
  return { signature, revision, headerSize, headerCrc, reserved, ...places, entryCount, entrySize, entriesCrc };
}

async function isThere(disk: Source, writes: readonly GptWrite[], options: ReadOptions | undefined): Promise<boolean> {
  for (const { offset, bytes } of writes) {
    const there = await disk.read(offset, bytes.length, options);
    for (let i = 0; i < bytes.length; i++) if (there[i] !== bytes[i]) return false;
  }
  return true;
}
