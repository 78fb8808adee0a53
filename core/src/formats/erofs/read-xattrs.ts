/** Extended attributes on the reading side. */
import { alignUp, type ByteString, byteString, type Cursor, cursor } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { NO_XATTRS, type Xattrs } from "../../tree/index.ts";
import { COMPAT, RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_UNIT } from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import { showNid } from "./superblock.ts";
import type { Volume } from "./volume.ts";
import { filterBit } from "./xattr-filter.ts";
import { type LongPrefix, prefixOf, readLongPrefixes, type XattrPrefixes } from "./xattr-prefixes.ts";

type Xattr = readonly [name: ByteString, value: Uint8Array];

/** What stands behind an inode, before shared entries are looked up. */
interface ParsedXattrBody {
  /** 4-byte units from the start of the shared area. */
  readonly sharedIds: readonly number[];
  readonly inline: readonly Xattr[];
}

/** What reading the xattrs of one inode after the other remembers. */
export interface XattrReader {
  readonly volume: Volume;
  /** What stands in front of names, by index. */
  readonly prefixes: XattrPrefixes;
  /** The image's own prefixes, read when the first name has one. */
  longPrefixes(): Promise<readonly LongPrefix[]>;
  readonly shared: Map<number, Xattr>;
  /**
   * Bytes of shared entries read so far. Entries that overlap could stand for far more memory than the image has, entries
   * that do not never add up to more than it.
   */
  sharedBytes: number;
}

export function xattrReader(volume: Volume, prefixes: XattrPrefixes): XattrReader {
  let long: Promise<readonly LongPrefix[]> | undefined;
  return {
    volume,
    prefixes,
    longPrefixes() {
      long ??= readLongPrefixes(volume);
      return long;
    },
    shared: new Map(),
    sharedBytes: 0,
  };
}

function takeEntry(at: Cursor, where: string, prefixes: XattrPrefixes, long: readonly LongPrefix[]): Xattr {
  const { nameSize, nameIndex, valueSize } = RawXattrEntry.view(at.take(RawXattrEntry.size));
  const name = (prefixOf(nameIndex, prefixes, long, where) + byteString(at.take(nameSize))) as ByteString;
  if (name.includes("\0")) throw new FormatError("bad-xattr", `${where}: an xattr name holds a NUL`);
  const value = at.take(valueSize).slice();
  at.skip(Math.min(at.remaining, alignUp(at.position, XATTR_UNIT) - at.position));
  return [name, value];
}

function takeSharedIds(at: Cursor): number[] {
  const { sharedCount } = RawXattrHeader.view(at.take(RawXattrHeader.size));
  return Array.from({ length: sharedCount }, () => RawXattrId.view(at.take(RawXattrId.size)).id);
}

/** Of the bytes behind an inode: its shared entries, in 4-byte units from the start of the shared area. */
export function parseSharedIds(bytes: Uint8Array, where: string): number[] {
  return takeSharedIds(cursor(bytes, `${where}: xattrs`));
}

/** @param where names the inode in errors */
function parseXattrBody(
  bytes: Uint8Array,
  where: string,
  prefixes: XattrPrefixes,
  long: readonly LongPrefix[],
): ParsedXattrBody {
  const at = cursor(bytes, `${where}: xattrs`);
  const sharedIds = takeSharedIds(at);
  const inline: Xattr[] = [];
  while (at.remaining > 0) inline.push(takeEntry(at, where, prefixes, long));
  return { sharedIds, inline };
}

/**
 * All xattrs of an inode. Where a name comes twice the first wins, inline before shared, as in the kernel.
 * Throws FormatError `truncated`, `xattr-out-of-range`, `xattr-overlap`, `bad-xattr` or `bad-xattr-prefix`, UnsupportedError
 * `xattr-namespace`.
 */
export async function readXattrs(reader: XattrReader, inode: ErofsInode): Promise<Xattrs> {
  if (inode.xattrSize === 0) return NO_XATTRS;
  const { volume, shared } = reader;
  const xattrs = new Map<ByteString, Uint8Array>();
  const where = `inode ${showNid(inode.nid)}`;
  const start = inode.position + inode.inodeSize;
  const metadata = volume.metadataOf(inode);
  if (start + inode.xattrSize > metadata.size)
    throw new FormatError("xattr-out-of-range", `${where}: xattrs lie outside the image`, { offset: start });
  const long = await reader.longPrefixes();
  const body = parseXattrBody(await metadata.read(start, inode.xattrSize), where, reader.prefixes, long);
  const add = ([name, value]: Xattr): void => {
    if (!xattrs.has(name)) xattrs.set(name, value);
  };
  for (const xattr of body.inline) add(xattr);
  for (const id of body.sharedIds) {
    let xattr = shared.get(id);
    if (xattr === undefined) {
      xattr = await readShared(reader, id, where, long);
      shared.set(id, xattr);
      reader.sharedBytes += RawXattrEntry.size + xattr[1].length;
      if (reader.sharedBytes > sharedArea(volume).size)
        throw new FormatError("xattr-overlap", `${where}: shared xattrs overlap and add up to more than the image`);
    }
    add(xattr);
  }
  return xattrs;
}

/**
 * The value of one xattr; undefined where it is not there. Where the image has name filters, most names that are not there cost
 * reading the filter alone. Throws as {@link readXattrs}.
 */
export async function readXattr(
  reader: XattrReader,
  inode: ErofsInode,
  name: ByteString,
): Promise<Uint8Array | undefined> {
  if (inode.xattrSize === 0 || (await deniesXattr(reader.volume, inode, name))) return undefined;
  return (await readXattrs(reader, inode)).get(name);
}

/** Whether the inode's filter says that the name is not there. */
async function deniesXattr(volume: Volume, inode: ErofsInode, name: ByteString): Promise<boolean> {
  const bit = filterBit(name);
  if (!volume.superblock.hasXattrFilter || bit === undefined) return false;
  const metadata = volume.metadataOf(inode);
  const start = inode.position + inode.inodeSize;
  if (start + RawXattrHeader.size > metadata.size) return false; // readXattrs says it better
  const { nameFilter } = RawXattrHeader.view(await metadata.read(start, RawXattrHeader.size));
  return (nameFilter & (1 << bit)) !== 0;
}

/** What the shared entries stand in. Throws FormatError `no-metabox`. */
export function sharedArea(volume: Pick<Volume, "metadata" | "metabox" | "superblock">): Source {
  if ((volume.superblock.featureCompat & COMPAT.sharedXattrsInMetabox) === 0) return volume.metadata;
  if (volume.metabox !== undefined) return volume.metabox;
  throw new FormatError("no-metabox", "shared xattrs are said to stand in the metabox, the image has none");
}

async function readShared(
  { volume, prefixes }: XattrReader,
  id: number,
  where: string,
  long: readonly LongPrefix[],
): Promise<Xattr> {
  const source = sharedArea(volume);
  const start = volume.superblock.xattrStart + id * XATTR_UNIT;
  const outside = (): FormatError =>
    new FormatError("xattr-out-of-range", `${where}: shared xattr ${id} lies outside the image`, { offset: start });
  if (start + RawXattrEntry.size > source.size) throw outside();
  const { nameSize, valueSize } = RawXattrEntry.view(await source.read(start, RawXattrEntry.size));
  const size = RawXattrEntry.size + nameSize + valueSize;
  if (start + size > source.size) throw outside();
  const entry = cursor(await source.read(start, size), `${where}: shared xattr ${id}`);
  return takeEntry(entry, where, prefixes, long);
}
