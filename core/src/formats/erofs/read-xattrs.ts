/** Extended attributes on the reading side. */
import { alignUp, type ByteString, byteString, type Cursor, cursor } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { NO_XATTRS, type Xattrs } from "../../tree/index.ts";
import { RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_PREFIXES, XATTR_UNIT } from "./format.ts";
import type { ErofsImage, ErofsInode } from "./read.ts";

type Xattr = readonly [name: ByteString, value: Uint8Array];

/** What stands behind an inode, before shared entries are looked up. */
export interface ParsedXattrBody {
  /** 4-byte units from the start of the shared area. */
  readonly sharedIds: readonly number[];
  readonly inline: readonly Xattr[];
}

/**
 * Shared entries by id. Their bytes are counted: entries that overlap could stand for far more memory than the image
 * has, entries that do not never add up to more than it.
 */
export interface SharedXattrs {
  readonly byId: Map<number, Xattr>;
  bytes: number;
  /** What stands in front of names, by index. */
  readonly prefixes: XattrPrefixes;
}

/** Name prefixes by index; undefined where names of that index are not read. */
export type XattrPrefixes = readonly (string | undefined)[];

export const PLAIN_PREFIXES: XattrPrefixes = /* @__PURE__ */ XATTR_PREFIXES.map((known) => known?.prefix);

function takeEntry(at: Cursor, where: string, prefixes: XattrPrefixes): Xattr {
  const { nameSize, nameIndex, valueSize } = RawXattrEntry.view(at.take(RawXattrEntry.size));
  const prefix = prefixes[nameIndex];
  if (prefix === undefined)
    throw new UnsupportedError("xattr-namespace", `${where}: xattr name index ${nameIndex} is not implemented`);
  const name = (prefix + byteString(at.take(nameSize))) as ByteString;
  if (name.includes("\0")) throw new FormatError("bad-xattr", `${where}: an xattr name holds a NUL`);
  const value = at.take(valueSize).slice();
  at.skip(Math.min(at.remaining, alignUp(at.position, XATTR_UNIT) - at.position));
  return [name, value];
}

/** @param where names the inode in errors */
export function parseXattrBody(
  bytes: Uint8Array,
  where: string,
  prefixes: XattrPrefixes = PLAIN_PREFIXES,
): ParsedXattrBody {
  const at = cursor(bytes, `${where}: xattrs`);
  const { sharedCount } = RawXattrHeader.view(at.take(RawXattrHeader.size));
  const sharedIds: number[] = [];
  for (let i = 0; i < sharedCount; i++) sharedIds.push(RawXattrId.view(at.take(RawXattrId.size)).id);
  const inline: Xattr[] = [];
  while (at.remaining > 0) inline.push(takeEntry(at, where, prefixes));
  return { sharedIds, inline };
}

/**
 * All xattrs of an inode. Where a name comes twice the first wins, inline before shared, as in the kernel.
 * Throws FormatError `truncated`, `xattr-out-of-range`, `xattr-overlap` or `bad-xattr`, UnsupportedError `xattr-namespace`.
 *
 * @param shared entries read so far; grows
 */
export async function readXattrs(
  image: ErofsImage,
  source: Source,
  inode: ErofsInode,
  shared: SharedXattrs,
): Promise<Xattrs> {
  if (inode.xattrSize === 0) return NO_XATTRS;
  const xattrs = new Map<ByteString, Uint8Array>();
  const where = `inode ${inode.nid}`;
  const start = inode.position + inode.inodeSize;
  if (start + inode.xattrSize > source.size)
    throw new FormatError("xattr-out-of-range", `${where}: xattrs lie outside the image`, { offset: start });
  const body = parseXattrBody(await source.read(start, inode.xattrSize), where, shared.prefixes);
  const add = ([name, value]: Xattr): void => {
    if (!xattrs.has(name)) xattrs.set(name, value);
  };
  for (const xattr of body.inline) add(xattr);
  for (const id of body.sharedIds) {
    let xattr = shared.byId.get(id);
    if (xattr === undefined) {
      xattr = await readShared(image, source, id, where, shared.prefixes);
      shared.byId.set(id, xattr);
      shared.bytes += RawXattrEntry.size + xattr[1].length;
      if (shared.bytes > source.size)
        throw new FormatError("xattr-overlap", `${where}: shared xattrs overlap and add up to more than the image`);
    }
    add(xattr);
  }
  return xattrs;
}

async function readShared(
  { superblock }: ErofsImage,
  source: Source,
  id: number,
  where: string,
  prefixes: XattrPrefixes,
): Promise<Xattr> {
  const start = superblock.xattrStart + id * XATTR_UNIT;
  const outside = (): FormatError =>
    new FormatError("xattr-out-of-range", `${where}: shared xattr ${id} lies outside the image`, { offset: start });
  if (start + RawXattrEntry.size > source.size) throw outside();
  const { nameSize, valueSize } = RawXattrEntry.view(await source.read(start, RawXattrEntry.size));
  const size = RawXattrEntry.size + nameSize + valueSize;
  if (start + size > source.size) throw outside();
  return takeEntry(cursor(await source.read(start, size), `${where}: shared xattr ${id}`), where, prefixes);
}
