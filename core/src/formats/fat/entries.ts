/** Decodes directory entries: long names where they are whole, short names otherwise. */
import { FormatError } from "../../errors/index.ts";
import {
  ATTRIBUTE_DIRECTORY,
  ATTRIBUTE_VOLUME,
  ATTRIBUTES_LONG_NAME,
  CASE_BASE_LOWER,
  CASE_EXTENSION_LOWER,
  ENTRY_DELETED,
  ENTRY_END,
  ENTRY_ESCAPED_E5,
  ENTRY_SIZE,
  LAST_PIECE,
  LONG_NAME_MASK,
  MAX_NAME_UNITS,
  RawEntry,
  RawLongName,
  shortNameChecksum,
  UNITS_PER_PIECE,
} from "./format.ts";

export interface Entry {
  readonly type: "file" | "directory" | "label";
  readonly name: string;
  readonly cluster: number;
  /** Bytes. */
  readonly size: number;
  readonly date: number;
  readonly time: number;
}

/** Pieces of a long name collected so far, the last first. */
interface Pieces {
  readonly checksum: number;
  /** Number of the piece that must come next; 0 where the name is whole. */
  expected: number;
  units: number[];
}

/**
 * Entries up to the end mark; deleted ones, `.` and `..` are left out. A long name that is broken (wrong order or
 * checksum) gives way to the short one, as the spec wants of readers. `path` names the directory in errors.
 * Throws FormatError `fat-name` for a name that no file may have.
 */
export function* decodeEntries(bytes: Uint8Array, path: string): Generator<Entry> {
  let pieces: Pieces | undefined;
  for (let at = 0; at + ENTRY_SIZE <= bytes.length; at += ENTRY_SIZE) {
    const first = bytes[at];
    if (first === ENTRY_END) return;
    const raw = RawEntry.view(bytes, at);
    if (first === ENTRY_DELETED) {
      pieces = undefined;
      continue;
    }
    if ((raw.attributes & LONG_NAME_MASK) === ATTRIBUTES_LONG_NAME) {
      pieces = addPiece(pieces, bytes, at);
      continue;
    }
    const long = pieces?.expected === 0 && pieces.checksum === shortNameChecksum(raw.name) ? pieces : undefined;
    pieces = undefined;
    const isLabel = (raw.attributes & ATTRIBUTE_VOLUME) !== 0;
    const short = isLabel ? text(raw.name).trimEnd() : shortName(raw.name, raw.caseFlags);
    if (!isLabel && (short === "." || short === "..")) continue;
    const name = long === undefined || isLabel ? short : longName(long.units);
    if (!isLabel && !isSound(name))
      throw new FormatError("fat-name", `${path}: ${JSON.stringify(name)} is not a name of a file`, { path });
    yield {
      type: isLabel ? "label" : (raw.attributes & ATTRIBUTE_DIRECTORY) !== 0 ? "directory" : "file",
      name,
      cluster: raw.clusterHigh * 0x10000 + raw.clusterLow,
      size: raw.size,
      date: raw.writtenDate,
      time: raw.writtenTime,
    };
  }
}

function isSound(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/") && !name.includes("\0");
}

function addPiece(pieces: Pieces | undefined, bytes: Uint8Array, at: number): Pieces | undefined {
  const raw = RawLongName.view(bytes, at);
  const order = raw.order & ~LAST_PIECE;
  const isLast = (raw.order & LAST_PIECE) !== 0;
  if (order === 0 || order > Math.ceil(MAX_NAME_UNITS / UNITS_PER_PIECE)) return undefined;
  const units: number[] = [];
  for (const part of [raw.units1, raw.units2, raw.units3])
    for (let i = 0; i < part.length; i += 2) units.push(part[i]! | (part[i + 1]! << 8)); // all have an even length
  if (isLast) return { checksum: raw.checksum, expected: order - 1, units };
  if (pieces === undefined || pieces.expected !== order || pieces.checksum !== raw.checksum) return undefined;
  return { checksum: raw.checksum, expected: order - 1, units: [...units, ...pieces.units] };
}

function longName(units: readonly number[]): string {
  const end = units.indexOf(0);
  return String.fromCharCode(...(end < 0 ? units : units.slice(0, end)));
}

/** Bytes 128 to 255 of code page 437, which Linux assumes too; a volume does not say which one it was written with. */
const CODE_PAGE =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

function text(bytes: Uint8Array): string {
  let characters = "";
  for (const byte of bytes) characters += byte < 128 ? String.fromCharCode(byte) : CODE_PAGE[byte - 128];
  return characters;
}

function shortName(packed: Uint8Array, caseFlags: number): string {
  const bytes = new Uint8Array(packed);
  if (bytes[0] === ENTRY_ESCAPED_E5) bytes[0] = ENTRY_DELETED; // the byte itself, here not a mark
  let base = text(bytes.subarray(0, 8)).trimEnd();
  let extension = text(bytes.subarray(8)).trimEnd();
  if ((caseFlags & CASE_BASE_LOWER) !== 0) base = base.toLowerCase();
  if ((caseFlags & CASE_EXTENSION_LOWER) !== 0) extension = extension.toLowerCase();
  return extension === "" ? base : `${base}.${extension}`;
}
