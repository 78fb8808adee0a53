/** Writes GUID partition tables. */
import { concatBytes, crc32, parseUuid, swapGuid, type Uuid } from "../../bytes/index.ts";
import {
  ENTRY_COUNT,
  HEADER_REVISION,
  HEADER_SIGNATURE,
  MAX_NAME_LENGTH,
  MBR_CHS_FIRST,
  MBR_CHS_MAX,
  MBR_PROTECTIVE_TYPE,
  MBR_SIGNATURE,
  PARTITION_ALIGNMENT,
  RawGptEntry,
  RawGptHeader,
  RawMbr,
  RawMbrPartition,
  SECTOR_SIZES,
  type SectorSize,
} from "./format.ts";

/** A partition, in bytes. */
export interface GptPartition {
  readonly typeGuid: Uuid;
  readonly partitionGuid: Uuid;
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** See `PARTITION_FLAGS`. */
  readonly attributes: bigint;
  /** At most 36 UTF-16 code units. */
  readonly name: string;
}

export interface GptOptions {
  readonly sectorSize: SectorSize;
  /** Bytes, whole sectors. */
  readonly diskSize: number;
  readonly diskGuid: Uuid;
  /** In the order of their numbers, the first is 1. At most 128; starts at multiples of 1 MiB, without overlap. */
  readonly partitions: readonly GptPartition[];
}

export interface EncodedGpt {
  /** For offset 0: protective MBR, header and entries. */
  readonly primary: Uint8Array;
  /** For the end of the disk: entries and header. */
  readonly backup: { readonly offset: number; readonly bytes: Uint8Array };
}

/** Where partitions may lie. */
export interface UsableArea {
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes from the start of the disk, exclusive. */
  readonly end: number;
}

/** The bytes between the two tables of a disk. Throws RangeError for a disk that has no room for them. */
export function usableArea(sectorSize: SectorSize, diskSize: number): UsableArea {
  if (!SECTOR_SIZES.includes(sectorSize)) throw new RangeError(`sector size ${sectorSize} is neither 512 nor 4096`);
  if (!Number.isSafeInteger(diskSize) || diskSize % sectorSize !== 0)
    throw new RangeError(`disk of ${diskSize} bytes is not whole sectors of ${sectorSize} bytes`);
  const entries = ENTRY_COUNT * RawGptEntry.size; // whole sectors of either size
  const area = { start: 2 * sectorSize + entries, end: diskSize - sectorSize - entries };
  if (area.end <= area.start) throw new RangeError(`disk of ${diskSize} bytes has no room for a partition`);
  return area;
}

function assertPartitions({ sectorSize, partitions }: GptOptions, usable: UsableArea): void {
  if (partitions.length > ENTRY_COUNT)
    throw new RangeError(`${partitions.length} partitions, at most ${ENTRY_COUNT} fit`);
  const guids = new Set<string>();
  for (const { name, start, size, partitionGuid } of partitions) {
    const what = `partition ${JSON.stringify(name)}`;
    if (name.length > MAX_NAME_LENGTH)
      throw new RangeError(`${what}: name has ${name.length} UTF-16 units, at most ${MAX_NAME_LENGTH} fit`);
    if (name.includes("\0")) throw new RangeError(`${what}: name contains NUL`);
    if (!Number.isSafeInteger(start) || start % PARTITION_ALIGNMENT !== 0)
      throw new RangeError(`${what}: start ${start} is not a multiple of ${PARTITION_ALIGNMENT} bytes`);
    if (!Number.isSafeInteger(size) || size < sectorSize || size % sectorSize !== 0)
      throw new RangeError(`${what}: size ${size} is not a positive number of sectors of ${sectorSize} bytes`);
    if (start < usable.start || start + size > usable.end)
      throw new RangeError(`${what}: bytes ${start} to ${start + size} are outside ${usable.start} to ${usable.end}`);
    const guid = partitionGuid.toLowerCase();
    if (guids.has(guid)) throw new RangeError(`${what}: its GUID ${guid} is taken`);
    guids.add(guid);
  }
  const sorted = partitions.toSorted((a, b) => a.start - b.start);
  for (const [i, { name, start }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before !== undefined && before.start + before.size > start)
      throw new RangeError(`partitions ${JSON.stringify(before.name)} and ${JSON.stringify(name)} overlap`);
  }
}

export function encodeName(name: string): Uint8Array {
  const bytes = new Uint8Array(2 * name.length);
  for (let i = 0; i < name.length; i++) {
    bytes[2 * i] = name.charCodeAt(i) & 0xff;
    bytes[2 * i + 1] = name.charCodeAt(i) >> 8;
  }
  return bytes;
}

function encodeEntries({ sectorSize, partitions }: GptOptions): Uint8Array {
  const bytes = new Uint8Array(ENTRY_COUNT * RawGptEntry.size);
  for (const [i, { typeGuid, partitionGuid, start, size, attributes, name }] of partitions.entries())
    bytes.set(
      RawGptEntry.encode({
        typeGuid: swapGuid(parseUuid(typeGuid)),
        partitionGuid: swapGuid(parseUuid(partitionGuid)),
        startingLba: start / sectorSize,
        endingLba: (start + size) / sectorSize - 1,
        attributes,
        name: encodeName(name),
      }),
      i * RawGptEntry.size,
    );
  return bytes;
}

function encodeProtectiveMbr(sectors: number): Uint8Array {
  const none = new Uint8Array(0);
  return RawMbr.encode({
    bootCode: none,
    diskSignature: 0,
    unknown: 0,
    partition0: RawMbrPartition.encode({
      bootIndicator: 0,
      startingChs: MBR_CHS_FIRST,
      osType: MBR_PROTECTIVE_TYPE,
      endingChs: MBR_CHS_MAX,
      startingLba: 1,
      sizeInLba: Math.min(sectors - 1, 0xffffffff),
    }),
    partition1: none,
    partition2: none,
    partition3: none,
    signature: MBR_SIGNATURE,
  });
}

function padTo(bytes: Uint8Array, size: number): Uint8Array {
  const padded = new Uint8Array(size);
  padded.set(bytes);
  return padded;
}

/**
 * Both tables of a disk, as bytes with their places. Throws RangeError for partitions that do not fit or overlap, starts
 * off 1 MiB, names over 36 UTF-16 units or a GUID given twice; FormatError `bad-uuid`.
 */
export function encodeGpt(options: GptOptions): EncodedGpt {
  const { sectorSize, diskSize, diskGuid } = options;
  const usable = usableArea(sectorSize, diskSize);
  assertPartitions(options, usable);
  const entries = encodeEntries(options);
  const last = diskSize / sectorSize - 1;

  function header(myLba: number, alternateLba: number, entriesLba: number): Uint8Array {
    const values = {
      signature: HEADER_SIGNATURE,
      revision: HEADER_REVISION,
      headerSize: RawGptHeader.size,
      headerCrc: 0,
      reserved: 0,
      myLba,
      alternateLba,
      firstUsableLba: usable.start / sectorSize,
      lastUsableLba: usable.end / sectorSize - 1,
      diskGuid: swapGuid(parseUuid(diskGuid)),
      entriesLba,
      entryCount: ENTRY_COUNT,
      entrySize: RawGptEntry.size,
      entriesCrc: crc32(entries),
    };
    return padTo(RawGptHeader.encode({ ...values, headerCrc: crc32(RawGptHeader.encode(values)) }), sectorSize);
  }

  return {
    primary: concatBytes(padTo(encodeProtectiveMbr(last + 1), sectorSize), header(1, last, 2), entries),
    backup: { offset: usable.end, bytes: concatBytes(entries, header(last, 1, usable.end / sectorSize)) },
  };
}
