/** Reads GUID partition tables, from the backup where the primary one is damaged. */
import { crc32, decodeUtf8, formatUuid, isPowerOfTwo, isZero, swapGuid, type Uuid } from "../../bytes/index.ts";
import { type AshlarError, FormatError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import {
  HEADER_REVISION,
  HEADER_SIGNATURE,
  MAX_ENTRY_COUNT,
  MAX_ENTRY_SIZE,
  RawGptEntry,
  RawGptHeader,
  SECTOR_SIZES,
  type SectorSize,
} from "./format.ts";
import type { GptPartition } from "./write.ts";

/** A partition as found. */
export interface GptPartitionEntry extends GptPartition {
  /** Its place in the table; the first is 1. `/dev/sdaN` has this N. */
  readonly number: number;
}

/** One of the two tables of a disk, whose checksums are right and whose numbers make sense. */
export interface GptTable {
  /** Sectors; where this header stands. */
  readonly headerLba: number;
  /** Sectors; where this header says that the other one stands. */
  readonly alternateLba: number;
  readonly diskGuid: Uuid;
  /** Bytes from the start of the disk. */
  readonly usableStart: number;
  /** Bytes from the start of the disk, exclusive. */
  readonly usableEnd: number;
  /** Bytes of the entry array, and where it starts. */
  readonly entriesStart: number;
  readonly entriesSize: number;
  readonly partitions: readonly GptPartitionEntry[];
}

/** One table, or why there is none. */
export type GptTableState =
  | { readonly valid: true; readonly table: GptTable }
  | { readonly valid: false; readonly error: AshlarError };

export interface Gpt {
  readonly sectorSize: SectorSize;
  readonly primary: GptTableState;
  readonly backup: GptTableState;
  /** The table that the values here come from: the primary one where it is valid. */
  readonly used: "primary" | "backup";
  readonly diskGuid: Uuid;
  /** In the order of their numbers. */
  readonly partitions: readonly GptPartitionEntry[];
}

function decodeName(field: Uint8Array): string {
  let name = "";
  for (let at = 0; at + 1 < field.length; at += 2) {
    const unit = field[at]! | (field[at + 1]! << 8); // at + 1 < length
    if (unit === 0) break;
    name += String.fromCharCode(unit);
  }
  return name;
}

function parseGuid(field: Uint8Array): Uuid {
  return formatUuid(swapGuid(field));
}

/**
 * Interprets a header, `bytes` being the sector it stands in. Checks its checksum, place and bounds; the entries are
 * {@link parseGptEntries}' part. Throws FormatError `gpt-signature`, `gpt-header`, `gpt-checksum`, `truncated`,
 * `too-large`; UnsupportedError `gpt-revision`.
 */
export function parseGptHeader(bytes: Uint8Array, lba: number, sectorSize: SectorSize, diskSize: number) {
  const raw = RawGptHeader.view(bytes);
  const offset = lba * sectorSize;
  const fail = (code: string, what: string) =>
    new FormatError(code, `gpt header in sector ${lba}: ${what}`, { offset });
  if (raw.signature !== HEADER_SIGNATURE) throw fail("gpt-signature", "the signature is missing");
  if (raw.headerSize < RawGptHeader.size || raw.headerSize > bytes.length)
    throw fail("gpt-header", `header size ${raw.headerSize} is outside ${RawGptHeader.size} to ${bytes.length} bytes`);
  const copy = new Uint8Array(bytes.subarray(0, raw.headerSize)); // not slice(): a Buffer's is a view
  const crcField = RawGptHeader.fields.headerCrc;
  copy.fill(0, crcField.offset, crcField.offset + crcField.size);
  const actual = crc32(copy);
  if (actual !== raw.headerCrc)
    throw new FormatError("gpt-checksum", `gpt header in sector ${lba}: the checksum does not match`, {
      offset,
      expected: raw.headerCrc,
      actual,
    });
  if (raw.revision >>> 16 !== HEADER_REVISION >>> 16)
    throw new UnsupportedError("gpt-revision", `gpt header revision 0x${raw.revision.toString(16)} is not implemented`);
  if (raw.myLba !== lba) throw fail("gpt-header", `it says that it stands in sector ${raw.myLba}`);
  if (raw.entryCount > MAX_ENTRY_COUNT)
    throw fail("gpt-header", `${raw.entryCount} entries, more than the limit of ${MAX_ENTRY_COUNT}`);
  if (raw.entrySize < RawGptEntry.size || raw.entrySize > MAX_ENTRY_SIZE || !isPowerOfTwo(raw.entrySize))
    throw fail("gpt-header", `entry size ${raw.entrySize} is not a power of two in 128 to ${MAX_ENTRY_SIZE} bytes`);
  const entriesSize = raw.entryCount * raw.entrySize;
  const sectors = Math.floor(diskSize / sectorSize);
  // A sector number past the disk may be so large that a product with it is no exact integer, so sectors are compared.
  if (raw.entriesLba >= sectors || raw.entriesLba * sectorSize + entriesSize > diskSize)
    throw fail("gpt-header", `its entries are past the end of the disk of ${diskSize} bytes`);
  if (raw.firstUsableLba > raw.lastUsableLba || raw.lastUsableLba >= sectors)
    throw fail(
      "gpt-header",
      `usable sectors ${raw.firstUsableLba} to ${raw.lastUsableLba} are not on the disk of ${sectors}`,
    );
  return {
    headerLba: lba,
    alternateLba: raw.alternateLba,
    diskGuid: parseGuid(raw.diskGuid),
    usableStart: raw.firstUsableLba * sectorSize,
    usableEnd: (raw.lastUsableLba + 1) * sectorSize,
    entriesStart: raw.entriesLba * sectorSize,
    entriesSize,
    entrySize: raw.entrySize,
    entriesCrc: raw.entriesCrc,
  };
}

/** Throws FormatError `gpt-checksum`, `gpt-partition`. */
export function parseGptEntries(
  bytes: Uint8Array,
  header: ReturnType<typeof parseGptHeader>,
  sectorSize: SectorSize,
): GptPartitionEntry[] {
  const { entriesStart, entrySize, usableStart, usableEnd } = header;
  const actual = crc32(bytes);
  if (actual !== header.entriesCrc)
    throw new FormatError("gpt-checksum", `gpt entries at byte ${entriesStart}: the checksum does not match`, {
      offset: entriesStart,
      expected: header.entriesCrc,
      actual,
    });
  const partitions: GptPartitionEntry[] = [];
  for (let at = 0; at < bytes.length; at += entrySize) {
    const raw = RawGptEntry.view(bytes, at);
    if (isZero(raw.typeGuid)) continue;
    const { startingLba, endingLba } = raw;
    const number = at / entrySize + 1;
    if (startingLba > endingLba || startingLba < usableStart / sectorSize || endingLba >= usableEnd / sectorSize)
      throw new FormatError(
        "gpt-partition",
        `gpt partition ${number}: sectors ${startingLba} to ${endingLba} are not usable`,
        {
          offset: entriesStart + at,
        },
      );
    partitions.push({
      number,
      typeGuid: parseGuid(raw.typeGuid),
      partitionGuid: parseGuid(raw.partitionGuid),
      start: startingLba * sectorSize,
      size: (endingLba - startingLba + 1) * sectorSize,
      attributes: raw.attributes,
      name: decodeName(raw.name),
    });
  }
  return partitions;
}

/** Reads one table. An error of ours about the bytes becomes the state; what `source` throws passes. */
async function readTable(
  source: Source,
  lba: number,
  sectorSize: SectorSize,
  options: ReadOptions | undefined,
): Promise<GptTableState> {
  if (lba < 1 || lba >= Math.floor(source.size / sectorSize))
    return { valid: false, error: new FormatError("gpt-header", `gpt header: sector ${lba} is not on the disk`) };
  const sector = await source.read(lba * sectorSize, sectorSize, options);
  try {
    const header = parseGptHeader(sector, lba, sectorSize, source.size);
    const entries = await source.read(header.entriesStart, header.entriesSize, options);
    const { entrySize: _, entriesCrc: __, ...rest } = header;
    return { valid: true, table: { ...rest, partitions: parseGptEntries(entries, header, sectorSize) } };
  } catch (error) {
    if (!isAshlarError(error) || error.kind === "SourceError") throw error;
    return { valid: false, error };
  }
}

const SIGNATURE_TEXT = "EFI PART";

/** The sector size at which a header stands in the second or, failing that, the last sector. */
async function detectSectorSize(source: Source, options: ReadOptions | undefined): Promise<SectorSize | undefined> {
  for (const place of ["first", "last"] as const)
    for (const sectorSize of SECTOR_SIZES) {
      const sectors = Math.floor(source.size / sectorSize);
      const lba = place === "first" ? 1 : sectors - 1;
      if (sectors < 3) continue;
      const found = decodeUtf8(await source.read(lba * sectorSize, SIGNATURE_TEXT.length, options));
      if (found === SIGNATURE_TEXT) return sectorSize;
    }
  return undefined;
}

/**
 * Reads both tables of a disk and takes the primary one where it is valid, else the backup: the one that the primary
 * header names if that header can be read, the last sector otherwise. The state of each is told.
 *
 * Throws FormatError `not-gpt` where no header is found, else the primary table's own error where neither is valid.
 */
export async function openGpt(source: Source, options?: ReadOptions): Promise<Gpt> {
  const sectorSize = await detectSectorSize(source, options);
  if (sectorSize === undefined) throw new FormatError("not-gpt", "no GPT header in the second or the last sector");
  const last = Math.floor(source.size / sectorSize) - 1;
  const primary = await readTable(source, 1, sectorSize, options);
  const backup = await readTable(source, primary.valid ? primary.table.alternateLba : last, sectorSize, options);
  const chosen = primary.valid ? primary : backup;
  if (!chosen.valid) throw primary.valid ? chosen.error : primary.error;
  const { diskGuid, partitions } = chosen.table;
  return { sectorSize, primary, backup, used: primary.valid ? "primary" : "backup", diskGuid, partitions };
}
