/** One header block, and the records that stood before it, become an entry. */
import { type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Xattrs } from "../../tree/index.ts";
import { GNU_TAIL_OFFSET, MAX_PATH_LENGTH, RawGnuTail, RawHeader, TYPEFLAG } from "./format.ts";
import { headerChecksums, parseNumber, parsePaxNumber, parsePaxTime } from "./numbers.ts";
import { type PaxRecord, paxXattrs } from "./pax.ts";
import type { SparseSegment } from "./sparse.ts";

export type TarType = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

export interface TarEntry {
  /** As the archive says it: may start with `./`, end with `/`, be absolute or hold `..`. Not empty, no NUL. */
  readonly path: ByteString;
  readonly type: TarType;
  /** Of links; empty for everything else. No NUL. */
  readonly linkTarget: ByteString;
  /** Bytes of the file as it is read, holes included; 0 for everything but files. */
  readonly size: number;
  /** Bytes of content in the archive; less than `size` for a sparse file. */
  readonly storedSize: number;
  /** Bytes from the start of the uncompressed archive to the content. */
  readonly contentOffset: number;
  /** Bytes from the start of the uncompressed archive to the header that describes the entry. */
  readonly headerOffset: number;
  /** The low 12 bits of `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970, signed. */
  readonly mtime: bigint;
  /** Full name → value. */
  readonly xattrs: Xattrs;
  /** POSIX ACLs as text: see acl.ts. */
  readonly accessAcl: ByteString | undefined;
  readonly defaultAcl: ByteString | undefined;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Where the stored bytes belong, in order; undefined for a file without holes. */
  readonly segments: readonly SparseSegment[] | undefined;
}

/** What went before a header and is meant for it. */
export interface Extensions {
  /** Global records, then local ones. */
  readonly records: readonly PaxRecord[];
  readonly longName: ByteString | undefined;
  readonly longLink: ByteString | undefined;
}

export type Dialect = "v7" | "ustar" | "gnu";

const USTAR = [0x75, 0x73, 0x74, 0x61, 0x72] as const;
const SPACE = 0x20;
const MAX_ID = 0xffffffff; // uid_t and gid_t of Linux

/** Text up to the first NUL. */
export function textField(field: Uint8Array): ByteString {
  const end = field.indexOf(0);
  return byteString(end < 0 ? field : field.subarray(0, end));
}

export function dialectOf(header: Uint8Array): Dialect {
  const { magic } = RawHeader.view(header);
  for (let i = 0; i < USTAR.length; i++) if (magic[i] !== USTAR[i]) return "v7";
  return magic[5] === 0 ? "ustar" : magic[5] === SPACE ? "gnu" : "v7";
}

/** Throws FormatError `bad-checksum`. Old writers summed signed bytes, so both sums are right. */
export function assertChecksum(header: Uint8Array, offset: number, what: string): void {
  const stored = parseNumber(RawHeader.view(header).chksum);
  const { unsigned, signed } = headerChecksums(header);
  if (stored !== unsigned && stored !== signed)
    throw new FormatError(
      "bad-checksum",
      offset === 0
        ? `${what}: is no tar archive: its first header has checksum ${stored ?? "that is no number"}, expected ${unsigned}`
        : `${what}: header at ${offset} has checksum ${stored ?? "that is no number"}, expected ${unsigned}`,
      {
        offset,
        expected: unsigned,
        actual: stored,
      },
    );
}

/** The `size` of a header; bytes that follow it. */
export function headerSize(header: Uint8Array, offset: number, what: string): number {
  const size = parseNumber(RawHeader.view(header).size);
  if (size === undefined || size < 0)
    throw new FormatError("bad-number", `${what}: header at ${offset}: size is no number of bytes`, { offset });
  return size;
}

const TYPES: ReadonlyMap<number, TarType> = new Map([
  [TYPEFLAG.oldFile, "file"],
  [TYPEFLAG.file, "file"],
  [TYPEFLAG.contiguous, "file"],
  [TYPEFLAG.gnuSparse, "file"],
  [TYPEFLAG.hardLink, "hardlink"],
  [TYPEFLAG.symlink, "symlink"],
  [TYPEFLAG.character, "character"],
  [TYPEFLAG.block, "block"],
  [TYPEFLAG.directory, "directory"],
  [TYPEFLAG.fifo, "fifo"],
]);

/** An entry as its header and extensions have it, before sparse maps are looked at. */
export function parseHeader(
  header: Uint8Array,
  headerOffset: number,
  extensions: Extensions,
  what: string,
): Omit<TarEntry, "contentOffset" | "segments"> {
  const raw = RawHeader.view(header);
  const dialect = dialectOf(header);
  const { pax, xattrRecords } = splitRecords(extensions.records);

  const path = pax.get("path") ?? extensions.longName ?? headerPath(header, dialect);
  const named = () => `${what}: entry ${JSON.stringify(showBytes(path).slice(0, 200))} at ${headerOffset}`;
  const fail = (code: string, problem: string): never => {
    throw new FormatError(code, `${named()}: ${problem}`, {
      offset: headerOffset,
      path: showBytes(path).slice(0, 200),
    });
  };
  const number = (field: Uint8Array, key: string, name: string): number => {
    const text = pax.get(key);
    const value = text === undefined ? parseNumber(field) : parsePaxNumber(text);
    return value ?? fail("bad-number", `${name} is no number`);
  };
  const checkPath = (value: ByteString, name: string): void => {
    if (value === "") fail("bad-path", `${name} is empty`);
    if (value.includes("\0")) fail("bad-path", `${name} holds NUL`);
    if (value.length > MAX_PATH_LENGTH)
      fail("bad-path", `${name} has ${value.length} bytes, more than ${MAX_PATH_LENGTH}`);
  };
  const id = (field: Uint8Array, name: string): number => {
    const value = number(field, name, name);
    return value >= 0 && value <= MAX_ID ? value : fail("bad-number", `${name} ${value} is out of range`);
  };

  checkPath(path, "the path");
  const flag = raw.typeflag[0]!; // one byte
  let type = TYPES.get(flag);
  if (type === undefined)
    throw new UnsupportedError(
      "tar-type",
      `${named()}: type ${JSON.stringify(String.fromCharCode(flag))} is not supported`,
      {
        offset: headerOffset,
      },
    );
  if (flag === TYPEFLAG.oldFile && path.endsWith("/")) type = "directory"; // so wrote v7, which had no type for it
  // star has maps of its own under the same type. Without its map the content would be read as something that it is not.
  if (type === "file" && (flag === TYPEFLAG.gnuSparse ? dialect !== "gnu" : pax.has("SCHILY.realsize")))
    throw new UnsupportedError("star-sparse", `${named()}: is a sparse file as only star writes and reads them`, {
      offset: headerOffset,
    });
  const isLink = type === "hardlink" || type === "symlink";
  const linkTarget = isLink
    ? (pax.get("linkpath") ?? extensions.longLink ?? textField(raw.linkname))
    : ("" as ByteString);
  if (isLink) checkPath(linkTarget, "the link target");
  // Links, directories and nodes have no content whatever their size says; Go's reader does the same.
  const size = type === "file" ? number(raw.size, "size", "size") : 0;
  if (size < 0) fail("bad-number", `size ${size} is negative`);
  const isDevice = type === "character" || type === "block";
  const xattrs = paxXattrs(xattrRecords);
  return {
    path,
    type,
    linkTarget,
    size,
    storedSize: size,
    headerOffset,
    mode: (parseNumber(raw.mode) ?? fail("bad-number", "mode is no number")) & 0o7777,
    uid: id(raw.uid, "uid"),
    gid: id(raw.gid, "gid"),
    mtime: modificationTime(raw.mtime, pax.get("mtime")) ?? fail("bad-number", "mtime is no time"),
    xattrs: typeof xattrs === "string" ? fail("bad-xattr", xattrs) : xattrs,
    accessAcl: pax.get("SCHILY.acl.access"),
    defaultAcl: pax.get("SCHILY.acl.default"),
    devMajor: isDevice ? number(raw.devmajor, "SCHILY.devmajor", "devmajor") : 0,
    devMinor: isDevice ? number(raw.devminor, "SCHILY.devminor", "devminor") : 0,
  };
}

/** The last value of each key, empty ones left out: they take a global value back. Xattrs may be empty. */
function splitRecords(records: readonly PaxRecord[]) {
  const pax = new Map<string, ByteString>();
  const xattrRecords: PaxRecord[] = [];
  for (const record of records) {
    if (record.key.includes(".xattr.")) xattrRecords.push(record);
    else if (record.value.length === 0) pax.delete(record.key);
    else pax.set(record.key, byteString(record.value));
  }
  return { pax, xattrRecords };
}

function headerPath(header: Uint8Array, dialect: Dialect): ByteString {
  const raw = RawHeader.view(header);
  const name = textField(raw.name);
  if (dialect !== "ustar") return name;
  if (raw.prefix[0] === 0) return name;
  // Schilling's star writes "tar\0" at the end and two times behind a shorter prefix.
  const isStar = byteString(raw.padding.subarray(8)) === "tar\0";
  const prefix = textField(isStar ? raw.prefix.subarray(0, 131) : raw.prefix);
  return `${prefix}/${name}` as ByteString;
}

function modificationTime(field: Uint8Array, pax: string | undefined): bigint | undefined {
  if (pax !== undefined) return parsePaxTime(pax);
  const seconds = parseNumber(field);
  return seconds === undefined ? undefined : BigInt(seconds) * 1_000_000_000n;
}

/** The part of an old GNU header that describes holes. */
export function gnuTail(header: Uint8Array) {
  return RawGnuTail.view(header, GNU_TAIL_OFFSET);
}
