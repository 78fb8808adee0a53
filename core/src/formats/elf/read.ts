/** Reads what an ELF file needs to be loaded: interpreter, libraries, where to look for them. */
import { alignUp, type ByteString, byteString, decodeUtf8Strict, equalBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { parseDlopen } from "./dlopen.ts";
import {
  DLOPEN_OWNER,
  DLOPEN_TYPE,
  DYNAMIC_NEEDED,
  DYNAMIC_NULL,
  DYNAMIC_RPATH,
  DYNAMIC_RUNPATH,
  DYNAMIC_SONAME,
  DYNAMIC_STRING_TABLE,
  DYNAMIC_STRING_TABLE_SIZE,
  type ElfTables,
  IDENT_SIZE,
  RawIdent,
  SEGMENT_DYNAMIC,
  SEGMENT_INTERPRETER,
  SEGMENT_LOAD,
  SEGMENT_NOTE,
  TABLES,
} from "./format.ts";

/** Segments of one file, at most; real files have about ten. */
export const MAX_SEGMENTS = 1024;
/** Entries of the dynamic section, at most. */
export const MAX_DYNAMIC = 4096;
/** Notes of one file, at most. */
export const MAX_NOTES = 4096;
/** Bytes of a note's name that is looked at, its NULs included. */
const MAX_OWNER = 16;
/** Bytes of a name or path in the file, at most. */
export const MAX_STRING = 4096;

const MAGIC = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46);

/** A library that a program opens when it runs (`.note.dlopen`). */
export interface DlopenNote {
  /** What it is for, in a word. */
  readonly feature: string | undefined;
  /** `required`, `recommended` or `suggested`, as far as the file says. */
  readonly priority: string | undefined;
  /** Names to try, best first. */
  readonly sonames: readonly ByteString[];
}

export interface Elf {
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  /** e_machine: 62 is x86-64, 183 is arm64. */
  readonly machine: number;
  /** Path of the loader of a program that is linked dynamically. */
  readonly interpreter: ByteString | undefined;
  readonly soname: ByteString | undefined;
  /** Names of libraries, in the order in which they are searched. */
  readonly needed: readonly ByteString[];
  /** Directories to search, split at colons, `$ORIGIN` as it stands. */
  readonly runpath: readonly ByteString[];
  readonly rpath: readonly ByteString[];
  readonly dlopen: readonly DlopenNote[];
}

export function isElf(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, MAGIC.length), MAGIC);
}

/**
 * Throws FormatError `bad-magic`, `bad-elf` or `truncated`, and UnsupportedError `elf-size` for more segments, dynamic
 * entries or notes than any real file has. A file that is not linked dynamically needs nothing.
 */
export function parseElf(bytes: Uint8Array): Elf {
  const ident = RawIdent.view(bytes);
  if (!equalBytes(ident.magic, MAGIC)) throw new FormatError("bad-magic", "not an ELF file", { offset: 0 });
  const tables = TABLES[ident.class as 1 | 2]?.[ident.order as 1 | 2];
  if (tables === undefined)
    throw new FormatError("bad-elf", `ELF file of class ${ident.class} and byte order ${ident.order}`, { offset: 4 });
  const header = tables.header.view(bytes, IDENT_SIZE);
  const file: File = { bytes, tables, segments: parseSegments(bytes, tables, header) };

  const interpreter = file.segments.find(({ type }) => type === SEGMENT_INTERPRETER);
  return {
    bits: ident.class === 1 ? 32 : 64,
    littleEndian: ident.order === 1,
    machine: header.machine,
    interpreter:
      interpreter === undefined ? undefined : cString(content(file, interpreter, "interpreter"), 0, "interpreter"),
    ...parseDynamic(file),
    dlopen: parseNotes(file),
  };
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

interface File {
  readonly bytes: Uint8Array;
  readonly tables: ElfTables;
  readonly segments: readonly Segment[];
}

function parseSegments(
  bytes: Uint8Array,
  { segment }: ElfTables,
  header: { programHeaders: number; programHeaderSize: number; programHeaderCount: number },
): Segment[] {
  const { programHeaders, programHeaderSize, programHeaderCount } = header;
  if (programHeaderCount > MAX_SEGMENTS)
    throw new UnsupportedError("elf-size", `ELF file with ${programHeaderCount} segments, at most ${MAX_SEGMENTS}`);
  if (programHeaderCount > 0 && programHeaderSize !== segment.size)
    throw new FormatError("bad-elf", `ELF file: program headers of ${programHeaderSize} bytes, not ${segment.size}`);
  return Array.from({ length: programHeaderCount }, (_, index) => {
    const { type, offset, address, fileSize } = segment.view(bytes, programHeaders + index * segment.size);
    return { type, offset, address, fileSize };
  });
}

function content({ bytes }: File, { offset, fileSize }: Segment, what: string): Uint8Array {
  if (offset + fileSize > bytes.length)
    throw new FormatError("truncated", `ELF ${what}: ${fileSize} bytes at ${offset}, the file has ${bytes.length}`, {
      offset,
    });
  return bytes.subarray(offset, offset + fileSize);
}

function cString(bytes: Uint8Array, at: number, what: string): ByteString {
  const end = bytes.subarray(0, at + MAX_STRING + 1).indexOf(0, at);
  if (at >= bytes.length || end < 0) throw new FormatError("bad-elf", `ELF ${what}: no end of the string at ${at}`);
  return byteString(bytes.subarray(at, end));
}

/** The file's bytes from a memory address on, up to the end of the segment that holds it. */
function atAddress(file: File, address: number, what: string): Uint8Array {
  for (const segment of file.segments) {
    const into = address - segment.address;
    if (segment.type === SEGMENT_LOAD && into >= 0 && into < segment.fileSize)
      return content(file, segment, what).subarray(into);
  }
  throw new FormatError("bad-elf", `ELF ${what}: address ${address} is not in the file`);
}

function asNumber(value: number | bigint, what: string): number {
  if (value > Number.MAX_SAFE_INTEGER) throw new FormatError("bad-elf", `ELF ${what}: ${value} is too large`);
  return Number(value);
}

function parseDynamic(file: File): Pick<Elf, "soname" | "needed" | "runpath" | "rpath"> {
  const values = new Map<bigint, number[]>();
  const segment = file.segments.find(({ type }) => type === SEGMENT_DYNAMIC);
  if (segment !== undefined) {
    const { dynamic } = file.tables;
    const bytes = content(file, segment, "dynamic section");
    const count = Math.floor(bytes.length / dynamic.size);
    for (let index = 0; index < count; index++) {
      if (index >= MAX_DYNAMIC)
        throw new UnsupportedError("elf-size", `ELF file with more than ${MAX_DYNAMIC} dynamic entries`);
      const { tag, value } = dynamic.view(bytes, index * dynamic.size);
      if (BigInt(tag) === DYNAMIC_NULL) break;
      if (!WANTED_TAGS.has(BigInt(tag))) continue;
      const list = values.get(BigInt(tag));
      const number = asNumber(value, "dynamic entry");
      if (list === undefined) values.set(BigInt(tag), [number]);
      else list.push(number);
    }
  }
  const address = values.get(DYNAMIC_STRING_TABLE)?.[0];
  const size = values.get(DYNAMIC_STRING_TABLE_SIZE)?.[0];
  let table: Uint8Array | undefined;
  const strings = (tag: bigint): ByteString[] =>
    (values.get(tag) ?? []).map((at) => {
      if (address === undefined) throw new FormatError("bad-elf", "ELF dynamic section: no string table");
      table ??= atAddress(file, address, "string table").subarray(0, size);
      return cString(table, at, "string table");
    });
  const paths = (tag: bigint): ByteString[] =>
    strings(tag).flatMap((text) => (text.split(":") as ByteString[]).filter((path) => path !== ""));
  return {
    soname: strings(DYNAMIC_SONAME)[0],
    needed: strings(DYNAMIC_NEEDED),
    runpath: paths(DYNAMIC_RUNPATH),
    rpath: paths(DYNAMIC_RPATH),
  };
}

const WANTED_TAGS: ReadonlySet<bigint> = new Set([
  DYNAMIC_NEEDED,
  DYNAMIC_STRING_TABLE,
  DYNAMIC_STRING_TABLE_SIZE,
  DYNAMIC_SONAME,
  DYNAMIC_RPATH,
  DYNAMIC_RUNPATH,
]);

/** The name and NULs. */
function isDlopenOwner(name: Uint8Array): boolean {
  if (name.length > MAX_OWNER) return false;
  const text: string = byteString(name);
  return text === DLOPEN_OWNER.padEnd(text.length, "\0");
}

function parseNotes(file: File): DlopenNote[] {
  const found: DlopenNote[] = [];
  let count = 0;
  let size = 0; // of all segments: the same bytes again and again would cost far more than the file has
  for (const segment of file.segments) {
    if (segment.type !== SEGMENT_NOTE) continue;
    const bytes = content(file, segment, "note");
    size += bytes.length;
    if (size > file.bytes.length)
      throw new FormatError("bad-elf", "ELF notes overlap and add up to more than the file", {
        offset: segment.offset,
      });
    const { note } = file.tables;
    for (let at = 0; at + note.size <= bytes.length; ) {
      if (++count > MAX_NOTES) throw new UnsupportedError("elf-size", `ELF file with more than ${MAX_NOTES} notes`);
      const { nameSize, descriptionSize, type } = note.view(bytes, at);
      const nameAt = at + note.size;
      const descriptionAt = nameAt + alignUp(nameSize, 4);
      const end = descriptionAt + descriptionSize;
      if (end > bytes.length)
        throw new FormatError("truncated", `ELF note: ends at ${end}, the segment at ${bytes.length}`, { offset: at });
      if (type === DLOPEN_TYPE && isDlopenOwner(bytes.subarray(nameAt, nameAt + nameSize))) {
        const text = decodeUtf8Strict(bytes.subarray(descriptionAt, end));
        if (text === undefined) throw new FormatError("bad-elf", "ELF note of FDO: not UTF-8", { offset: at });
        found.push(...parseDlopen(text));
      }
      at = alignUp(end, 4);
    }
  }
  return found;
}
