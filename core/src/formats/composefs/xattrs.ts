/** Extended attributes on the writing side: names to indexes, filters, what is shared, and the bytes. */
import { alignUp, type ByteString } from "../../bytes/index.ts";
import { RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_UNIT } from "../erofs/format.ts";
import { xxh32 } from "../erofs/xxh32.ts";
import { type FormatVersion, MAX_SHARED, XATTR_FILTER_SEED, XATTR_PREFIXES } from "./format.ts";

/** A name and value; one object for all inodes that have them. */
export interface XattrEntry {
  readonly name: ByteString;
  readonly value: ByteString;
  /** Index in XATTR_PREFIXES. */
  readonly index: number;
  /** Bytes of the prefix that the index stands for. */
  readonly prefixSize: number;
  /** Bytes on disk. */
  readonly size: number;
  /** This name's bit of an inode's filter, set. */
  readonly filterBit: number;
  /** Inodes that have it, once `shareXattrs` has counted them. */
  uses: number;
  /** Bytes from the start of the shared area; undefined while it is not shared. */
  sharedAt: number | undefined;
}

/** Entries by name and value, over all inodes of an image. */
export interface XattrTable {
  entry(name: ByteString, value: ByteString): XattrEntry;
  entries(): Iterable<XattrEntry>;
}

/** In the order in which prefixes are tried; the first that fits is taken, ACL names with more behind them included. */
const SEARCH_ORDER: Readonly<Record<FormatVersion, readonly number[]>> = {
  // The C library has no `lustre.`: such names go in whole, under index 0.
  0: [1, 2, 3, 4, 6, 0],
  1: [1, 2, 3, 4, 6, 0],
  2: [6, 5, 4, 3, 2, 1, 0],
};

/** What a name comes to, whatever its value is. */
interface Name {
  readonly index: number;
  readonly prefixSize: number;
  readonly filterBit: number;
  readonly entries: Map<ByteString, XattrEntry>;
}

export function xattrTable(version: FormatVersion): XattrTable {
  const order = SEARCH_ORDER[version];
  const names = new Map<ByteString, Name>();
  function nameOf(name: ByteString): Name {
    const index = order.find((i) => name.startsWith(XATTR_PREFIXES[i]!)) ?? 0; // the prefix of 0 always fits
    const prefixSize = XATTR_PREFIXES[index]!.length; // an index of the table
    const hash = xxh32(name.slice(prefixSize) as ByteString, XATTR_FILTER_SEED + index);
    return { index, prefixSize, filterBit: 1 << (hash & 31), entries: new Map() };
  }
  return {
    entry(name, value) {
      let known = names.get(name);
      if (known === undefined) {
        known = nameOf(name);
        names.set(name, known);
      }
      let entry = known.entries.get(value);
      if (entry === undefined) {
        const { index, prefixSize, filterBit } = known;
        const size = alignUp(RawXattrEntry.size + name.length - prefixSize + value.length, XATTR_UNIT);
        entry = { name, value, index, prefixSize, size, filterBit, uses: 0, sharedAt: undefined };
        known.entries.set(value, entry);
      }
      return entry;
    },
    *entries() {
      for (const { entries } of names.values()) yield* entries.values();
    },
  };
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);

/** Descending by whole name, then by length of the value, then by value. */
const orderOfC = (a: XattrEntry, b: XattrEntry): number =>
  compare(b.name, a.name) || compare(b.value.length, a.value.length) || compare(b.value, a.value);

/** Ascending by index of the prefix, then by the rest of the name, then by value. */
const orderOfRust = (a: XattrEntry, b: XattrEntry): number =>
  compare(a.index, b.index) ||
  compare(a.name.slice(a.prefixSize), b.name.slice(b.prefixSize)) ||
  compare(a.value, b.value);

/**
 * Shares what more than one inode has. Returns the shared area's entries in their order, and its bytes.
 * @param lists the xattrs of each inode
 */
export function shareXattrs(
  table: XattrTable,
  lists: Iterable<{ readonly xattrs: readonly XattrEntry[] }>,
  version: FormatVersion,
): { shared: XattrEntry[]; size: number } {
  for (const { xattrs } of lists) for (const entry of xattrs) entry.uses++;
  const shared = [...table.entries()].filter(({ uses }) => uses > 1).sort(version === 2 ? orderOfRust : orderOfC);
  let size = 0;
  for (const entry of shared) {
    entry.sharedAt = size;
    size += entry.size;
  }
  return { shared, size };
}

/** The xattrs of one inode, split into what is referred to and what stands behind it. */
export interface XattrBody {
  readonly shared: readonly XattrEntry[];
  readonly inline: readonly XattrEntry[];
  /** Bytes, header included. */
  readonly size: number;
}

/** @param entries in the order of the inode; at least one */
export function planXattrBody(entries: readonly XattrEntry[], version: FormatVersion): XattrBody {
  const limit = version === 2 ? Number.POSITIVE_INFINITY : MAX_SHARED;
  let count = 0;
  let size = RawXattrHeader.size;
  for (const entry of entries) {
    const isShared = entry.sharedAt !== undefined && count < limit;
    if (isShared) count++;
    size += isShared ? RawXattrId.size : entry.size;
  }
  if (count === 0) return { shared: NO_ENTRIES, inline: entries, size };
  if (count === entries.length) return { shared: entries, inline: NO_ENTRIES, size };
  const all = entries.filter(({ sharedAt }) => sharedAt !== undefined);
  const shared = all.slice(0, count);
  const inline = entries.filter((entry) => !shared.includes(entry));
  return { shared, inline, size };
}

const NO_ENTRIES: readonly XattrEntry[] = [];

/** Bytes of a byte string into their place. */
export function writeBytes(target: Uint8Array, at: number, text: string, from = 0): void {
  for (let i = from; i < text.length; i++) target[at + i - from] = text.charCodeAt(i);
}

// Fields are written in place: there are a few for each file, and a table's encoder costs several times as much (measured).

export function writeXattrEntry(target: Uint8Array, at: number, entry: XattrEntry): void {
  const { name, prefixSize, index, value } = entry;
  const { nameSize, nameIndex, valueSize } = RawXattrEntry.fields;
  const suffixSize = name.length - prefixSize;
  target[at + nameSize.offset] = suffixSize;
  target[at + nameIndex.offset] = index;
  target[at + valueSize.offset] = value.length & 0xff;
  target[at + valueSize.offset + 1] = value.length >>> 8;
  writeBytes(target, at + RawXattrEntry.size, name, prefixSize);
  writeBytes(target, at + RawXattrEntry.size + suffixSize, value);
}

/** @param sharedBase bytes from where shared ids count to the shared area */
export function writeXattrBody(
  view: DataView,
  image: Uint8Array,
  at: number,
  body: XattrBody,
  sharedBase: number,
): void {
  let bits = 0;
  for (const { filterBit } of body.shared) bits |= filterBit;
  for (const { filterBit } of body.inline) bits |= filterBit;
  const { nameFilter, sharedCount } = RawXattrHeader.fields;
  view.setUint32(at + nameFilter.offset, ~bits >>> 0, true);
  view.setUint8(at + sharedCount.offset, body.shared.length);
  at += RawXattrHeader.size;
  for (const { sharedAt } of body.shared) {
    view.setUint32(at, (sharedBase + sharedAt!) / XATTR_UNIT, true); // shared entries have a place
    at += RawXattrId.size;
  }
  for (const entry of body.inline) {
    writeXattrEntry(image, at, entry);
    at += entry.size;
  }
}
