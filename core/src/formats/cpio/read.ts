/** Reads newc archives, several behind each other as an initramfs may have them. Contents are views of the input. */
import { alignUp, type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource } from "../../source/index.ts";
import {
  type Attributes,
  attributes,
  type Directory,
  directory,
  getNode,
  type Node,
  type NodeType,
  putNode,
  type RegularFile,
  regularFile,
  showPath,
  splitPath,
  symlink,
  TYPE_BITS,
} from "../../tree/index.ts";
import { ALIGNMENT, HEADER_SIZE, MAGIC, MAGIC_WITH_SUM, MAX_NAME_SIZE, RawCpioHeader, TRAILER } from "./format.ts";

/** Entries of one input, at most. */
export const MAX_ENTRIES = 1_000_000;

/** Bytes of a link's target; Linux skips those with more (PATH_MAX). */
const MAX_LINK_SIZE = 4096;

/** Directory levels of a name, at most; a tree deeper than this could not be walked. */
const MAX_LEVELS = 256;

export type CpioHeader = ReturnType<typeof RawCpioHeader.view>;

export interface CpioEntry {
  /** As it stands there, without the NUL. */
  readonly name: ByteString;
  readonly header: CpioHeader;
  readonly content: Uint8Array;
  /** Bytes from the start of the input to the header. */
  readonly offset: number;
  /** Which of the archives of the input, counted from 0. Hard links do not reach from one into another. */
  readonly archive: number;
}

/**
 * The entries in order, without trailers, up to the end or to the first bytes that are neither zero padding nor an
 * archive. `end` is where that is: the start of a compressed archive, where one follows an uncompressed one.
 *
 * Throws FormatError `bad-magic` where not even the first header is one, and `truncated`, `bad-number`, `bad-name`;
 * UnsupportedError `cpio-entries`.
 */
export function parseCpio(bytes: Uint8Array): { readonly entries: CpioEntry[]; readonly end: number } {
  const entries: CpioEntry[] = [];
  let offset = 0; // of the next header, counted from the start of the input
  let start = 0; // of the current archive: padding is counted from there
  let archive = -1;
  let inArchive = false;
  while (offset < bytes.length) {
    if (!inArchive) {
      while (offset < bytes.length && bytes[offset] === 0) offset++;
      if (offset % ALIGNMENT !== 0 || !isHeader(bytes, offset)) break;
      start = offset;
      archive++;
    }
    const entry = parseEntry(bytes, offset, archive);
    inArchive = entry.name !== TRAILER;
    const nameEnd = start + alignUp(offset - start + HEADER_SIZE + entry.header.nameSize, ALIGNMENT);
    const end = start + alignUp(nameEnd - start + entry.content.length, ALIGNMENT);
    if (inArchive) entries.push(entry);
    if (entries.length > MAX_ENTRIES)
      throw new UnsupportedError("cpio-entries", `cpio archive with more than ${MAX_ENTRIES} entries`);
    offset = Math.min(end, bytes.length);
  }
  if (inArchive) throw new FormatError("truncated", `cpio archive: no trailer at ${offset}`, { offset });
  if (archive < 0) throw new FormatError("bad-magic", "not a newc cpio archive", { offset: 0 });
  return { entries, end: offset };
}

function isHeader(bytes: Uint8Array, offset: number): boolean {
  const magic = byteString(bytes.subarray(offset, offset + MAGIC.length));
  return magic === MAGIC || magic === MAGIC_WITH_SUM;
}

/** Every field at once, so that none is found to be no number later. */
function parseHeader(bytes: Uint8Array, offset: number): CpioHeader {
  const view = RawCpioHeader.view(bytes, offset);
  const keys = Object.keys(RawCpioHeader.fields) as (keyof CpioHeader)[];
  return Object.fromEntries(keys.map((key) => [key, view[key]])) as CpioHeader;
}

function parseEntry(bytes: Uint8Array, offset: number, archive: number): CpioEntry {
  if (!isHeader(bytes, offset)) throw new FormatError("bad-magic", `cpio archive: no header at ${offset}`, { offset });
  const header = parseHeader(bytes, offset);
  const { nameSize, fileSize } = header;
  const nameStart = offset + HEADER_SIZE;
  if (
    nameSize < 1 ||
    nameSize > MAX_NAME_SIZE ||
    nameStart + nameSize > bytes.length ||
    bytes[nameStart + nameSize - 1] !== 0
  )
    throw new FormatError("bad-name", `cpio archive: bad name of ${nameSize} bytes at ${nameStart}`, {
      offset: nameStart,
    });
  const name = byteString(bytes.subarray(nameStart, nameStart + nameSize - 1));
  if (name.includes("\0"))
    throw new FormatError("bad-name", `cpio archive: name with a NUL at ${nameStart}`, { offset: nameStart });
  const contentStart = offset + alignUp(HEADER_SIZE + nameSize, ALIGNMENT);
  if (fileSize > 0 && contentStart + fileSize > bytes.length)
    throw new FormatError(
      "truncated",
      `cpio archive: ${showBytes(name)} has ${fileSize} bytes at ${contentStart}, the archive ends at ${bytes.length}`,
      { offset: contentStart },
    );
  return { name, header, content: bytes.subarray(contentStart, contentStart + fileSize), offset, archive };
}

const TYPE_MASK = 0o170000;
const TYPES: ReadonlyMap<number, NodeType> = new Map(
  Object.entries(TYPE_BITS).map(([type, bits]) => [bits, type as NodeType]),
);

/**
 * The entries as a tree, later ones over earlier ones, as Linux unpacks them. Throws FormatError `bad-name` for a name
 * with `..` or too many levels, `bad-type`, `bad-link` and `not-a-directory`.
 */
export function cpioTree(entries: readonly CpioEntry[]): Directory {
  const root = directory(attributes(0o755));
  const linked: Links = new Map();
  for (const entry of entries) {
    const names = splitPath(entry.name);
    if (names.includes(".." as ByteString) || names.length > MAX_LEVELS)
      throw new FormatError("bad-name", `cpio archive: ${showBytes(entry.name)} is no name inside the tree`, {
        offset: entry.offset,
      });
    const node = nodeOf(entry, linked);
    if (names.length === 0) continue; // ".": the root has no attributes of its own here
    const path = names.join("/");
    const there = getNode(root, path);
    if (there?.type === "directory" && node.type === "directory") {
      const { mode, uid, gid, mtime } = node;
      Object.assign(there, { mode, uid, gid, mtime });
    } else putNode(root, path, node);
  }
  return root;
}

/** Files with several names, by archive, file system and inode number. */
type Links = Map<string, RegularFile>;

function nodeOf({ name, header, content, offset, archive }: CpioEntry, linked: Links): Node {
  const type = TYPES.get(header.mode & TYPE_MASK);
  const common: Attributes = attributes(header.mode & 0o7777, {
    uid: header.uid,
    gid: header.gid,
    mtime: BigInt(header.mtime) * 1_000_000_000n,
  });
  switch (type) {
    case undefined:
      throw new FormatError("bad-type", `cpio archive: ${showPath(name)} has mode ${header.mode.toString(8)}`, {
        offset,
      });
    case "directory":
      return directory(common);
    case "symlink":
      if (content.length === 0 || content.length > MAX_LINK_SIZE || content.includes(0))
        throw new FormatError("bad-link", `cpio archive: ${showPath(name)} has no target that a link may have`, {
          offset,
        });
      return symlink(common, byteString(content));
    case "character":
    case "block":
      return { type, ...common, major: header.nodeMajor, minor: header.nodeMinor };
    case "fifo":
    case "socket":
      return { type, ...common };
    case "file": {
      const key = `${archive} ${header.deviceMajor} ${header.deviceMinor} ${header.inode}`;
      const before = header.links > 1 ? linked.get(key) : undefined;
      if (before !== undefined) {
        if (content.length > 0) before.content = bytesSource(content);
        return before;
      }
      const file = regularFile(common, bytesSource(content));
      if (header.links > 1) linked.set(key, file);
      return file;
    }
  }
}
