/** A small deterministic tar writer: ustar headers, PAX records exactly where ustar cannot hold a value. */
import { alignUp, type ByteString, bytesOf, concatBytes } from "../../bytes/index.ts";
import { BLOCK_SIZE, RawHeader, TYPEFLAG } from "./format.ts";
import type { TarType } from "./header.ts";
import { encodeNumber, formatPaxTime, headerChecksums } from "./numbers.ts";
import { encodePaxRecord } from "./pax.ts";

/** What is left out is 0 or empty; the mode's default is 0755 for directories and 0644 for the rest. */
export interface TarInput {
  readonly path: ByteString;
  readonly type: TarType;
  readonly linkTarget?: ByteString;
  /** Bytes of content that follow. */
  readonly size?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Nanoseconds since 1970, signed. */
  readonly mtime?: bigint;
  readonly xattrs?: ReadonlyMap<ByteString, Uint8Array>;
  readonly devMajor?: number;
  readonly devMinor?: number;
}

const FLAGS: Readonly<Record<TarType, number>> = {
  file: TYPEFLAG.file,
  hardlink: TYPEFLAG.hardLink,
  symlink: TYPEFLAG.symlink,
  character: TYPEFLAG.character,
  block: TYPEFLAG.block,
  directory: TYPEFLAG.directory,
  fifo: TYPEFLAG.fifo,
};

const MAX_OCTAL_8 = 0o7777777;
const MAX_OCTAL_12 = 0o77777777777;
const NAME_SIZE = RawHeader.fields.name.size;

/** Two zero blocks. */
export const TAR_END: Uint8Array = /* @__PURE__ */ new Uint8Array(2 * BLOCK_SIZE);

/** Everything that goes before the content; a multiple of 512 bytes. Throws RangeError for what no tar can hold. */
export function encodeTarHeader(input: TarInput): Uint8Array {
  const records = new Map<string, Uint8Array>();
  const text = (key: string, value: ByteString): ByteString => {
    if (value.length <= NAME_SIZE) return value;
    records.set(key, bytesOf(value));
    return value.slice(0, NAME_SIZE) as ByteString;
  };
  const number = (key: string, value: number, max: number): number => {
    if (value >= 0 && value <= max) return value;
    records.set(key, bytesOf(String(value) as ByteString));
    return 0;
  };
  const mtime = input.mtime ?? 0n;
  let seconds = Number(mtime / 1_000_000_000n);
  if (mtime < 0n || mtime % 1_000_000_000n !== 0n || seconds > MAX_OCTAL_12) {
    records.set("mtime", bytesOf(formatPaxTime(mtime) as ByteString));
    seconds = 0;
  }
  for (const [name, value] of input.xattrs ?? []) records.set(`SCHILY.xattr.${name}`, value);
  const header = encodeBlock({
    name: text("path", input.path),
    flag: FLAGS[input.type],
    linkname: text("linkpath", input.linkTarget ?? ("" as ByteString)),
    size: number("size", input.size ?? 0, MAX_OCTAL_12),
    mode: input.mode ?? (input.type === "directory" ? 0o755 : 0o644),
    uid: number("uid", input.uid ?? 0, MAX_OCTAL_8),
    gid: number("gid", input.gid ?? 0, MAX_OCTAL_8),
    mtime: seconds,
    devmajor: input.devMajor ?? 0,
    devminor: input.devMinor ?? 0,
  });
  if (records.size === 0) return header;
  const pax = concatBytes(
    ...[...records]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => encodePaxRecord(key as ByteString, value)),
  );
  const paxHeader = encodeBlock({
    name: "././@PaxHeader" as ByteString,
    flag: TYPEFLAG.pax,
    linkname: "" as ByteString,
    size: pax.length,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
    devmajor: 0,
    devminor: 0,
  });
  return concatBytes(paxHeader, pax, tarPadding(pax.length), header);
}

/** The zeros that follow `size` bytes of content. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array(alignUp(size, BLOCK_SIZE) - size);
}

/** A whole archive in memory; the size of each entry is its content's. */
export function encodeTar(members: Iterable<Omit<TarInput, "size"> & { readonly content?: Uint8Array }>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { content = new Uint8Array(0), ...entry } of members)
    parts.push(encodeTarHeader({ ...entry, size: content.length }), content, tarPadding(content.length));
  return concatBytes(...parts, TAR_END);
}

interface Block {
  readonly name: ByteString;
  readonly flag: number;
  readonly linkname: ByteString;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly devmajor: number;
  readonly devminor: number;
}

function encodeBlock(block: Block): Uint8Array {
  const ascii = (text: string) => bytesOf(text as ByteString);
  const header = RawHeader.encode({
    name: bytesOf(block.name),
    mode: encodeNumber(block.mode, 8),
    uid: encodeNumber(block.uid, 8),
    gid: encodeNumber(block.gid, 8),
    size: encodeNumber(block.size, 12),
    mtime: encodeNumber(block.mtime, 12),
    chksum: new Uint8Array(8),
    typeflag: Uint8Array.of(block.flag),
    linkname: bytesOf(block.linkname),
    magic: ascii("ustar\0"),
    version: ascii("00"),
    uname: new Uint8Array(0),
    gname: new Uint8Array(0),
    devmajor: encodeNumber(block.devmajor, 8),
    devminor: encodeNumber(block.devminor, 8),
    prefix: new Uint8Array(0),
    padding: new Uint8Array(0),
  });
  sealHeader(header);
  return header;
}

/** Writes the right checksum into a header block. */
export function sealHeader(header: Uint8Array): void {
  const digits = headerChecksums(header).unsigned.toString(8).padStart(6, "0");
  header.set(bytesOf(`${digits}\0 ` as ByteString), RawHeader.fields.chksum.offset);
}
