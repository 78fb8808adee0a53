/** Extended attributes on the writing side: names to indexes, filters, what is shared, and the bytes. */
import { alignUp, type ByteString } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_UNIT } from "../erofs/format.ts";
import { xxh32 } from "../erofs/xxh32.ts";
import { type FormatVersion, MAX_SHARED, XATTR_FILTER_SEED, XATTR_PREFIXES } from "./format.ts";

/** A number as the places are: of two kinds of values every entry would take more memory. */
const NOT_SHARED = -1;

/** A name and value; one object for all inodes that have them. */
export interface XattrEntry {
  readonly name: XattrName;
  readonly value: ByteString;
  /** Bytes on disk. */
  readonly size: number;
  /** Inodes that have it, once `shareXattrs` has counted them. */
  uses: number;
  /** Bytes from the start of the shared area, or {@link NOT_SHARED}. */
  sharedAt: number;
}

/** What a name comes to, whatever its value is. */
export interface XattrName {
  readonly text: ByteString;
  /** Index in XATTR_PREFIXES. */
  readonly index: number;
  /** Bytes of the prefix that the index stands for. */
  readonly prefixSize: number;
  /** This name's bit of an inode's filter, set. */
  readonly filterBit: number;
  readonly entries: Map<ByteString, XattrEntry>;
}

/** Entries by name and value, over all inodes of an image. */
export interface XattrTable {
  entry(name: ByteString, value: ByteString): XattrEntry;
  entries(): Iterable<XattrEntry>;
}

/** `h_shared_count` has 8 bits. */
const MAX_SHARED_COUNT = 0xff;

/** In the order in which prefixes are tried; the first that fits is taken, ACL names with more behind them included. */
const SEARCH_ORDER: Readonly<Record<FormatVersion, readonly number[]>> = {
  // The C library has no `lustre.`: such names go in whole, under index 0.
  0: [1, 2, 3, 4, 6, 0],
  1: [1, 2, 3, 4, 6, 0],
  2: [6, 5, 4, 3, 2, 1, 0],
};

export function xattrTable(version: FormatVersion): XattrTable {
  const order = SEARCH_ORDER[version];
  const names = new Map<ByteString, XattrName>();
  function nameOf(text: ByteString): XattrName {
    const index = order.find((i) => text.startsWith(XATTR_PREFIXES[i]!)) ?? 0; // the prefix of 0 always fits
    const prefixSize = XATTR_PREFIXES[index]!.length; // an index of the table
    const hash = xxh32(text.slice(prefixSize) as ByteString, XATTR_FILTER_SEED + index);
    return { text, index, prefixSize, filterBit: 1 << (hash & 31), entries: new Map() };
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
        const size = alignUp(RawXattrEntry.size + name.length - known.prefixSize + value.length, XATTR_UNIT);
        entry = { name: known, value, size, uses: 0, sharedAt: NOT_SHARED };
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
  compare(b.name.text, a.name.text) || compare(b.value.length, a.value.length) || compare(b.value, a.value);

const suffixOf = ({ text, prefixSize }: XattrName): string => text.slice(prefixSize);

/** Ascending by index of the prefix, then by the rest of the name, then by value. */
const orderOfRust = (a: XattrEntry, b: XattrEntry): number =>
  compare(a.name.index, b.name.index) || compare(suffixOf(a.name), suffixOf(b.name)) || compare(a.value, b.value);

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

/** How many of an inode's shared entries are referred to; the rest stand behind it as if they were not shared. */
function sharedLimit(version: FormatVersion): number {
  return version === 2 ? Number.POSITIVE_INFINITY : MAX_SHARED;
}

/**
 * Bytes of the xattrs of one inode, header included: those that are shared take a reference. Throws UnsupportedError
 * `xattr-total` where the references are too many to be counted.
 * @param entries in the order of the inode; at least one
 */
export function xattrBodySize(entries: readonly XattrEntry[], version: FormatVersion): number {
  const limit = sharedLimit(version);
  let count = 0;
  let size = RawXattrHeader.size;
  for (const entry of entries) {
    const isShared = entry.sharedAt !== NOT_SHARED && count < limit;
    if (isShared) count++;
    size += isShared ? RawXattrId.size : entry.size;
  }
  if (count > MAX_SHARED_COUNT)
    throw new UnsupportedError("xattr-total", `an inode has ${count} shared xattrs`, {
      expected: MAX_SHARED_COUNT,
      actual: count,
    });
  return size;
}

/** Bytes of a byte string into their place. */
export function writeBytes(target: Uint8Array, at: number, text: string, from = 0): void {
  for (let i = from; i < text.length; i++) target[at + i - from] = text.charCodeAt(i);
}

// Fields are written in place: there are a few for each file, and a table's encoder costs several times as much (measured).

export function writeXattrEntry(target: Uint8Array, at: number, { name, value }: XattrEntry): void {
  const { text, prefixSize, index } = name;
  const { nameSize, nameIndex, valueSize } = RawXattrEntry.fields;
  const suffixSize = text.length - prefixSize;
  target[at + nameSize.offset] = suffixSize;
  target[at + nameIndex.offset] = index;
  target[at + valueSize.offset] = value.length & 0xff;
  target[at + valueSize.offset + 1] = value.length >>> 8;
  writeBytes(target, at + RawXattrEntry.size, text, prefixSize);
  writeBytes(target, at + RawXattrEntry.size + suffixSize, value);
}

/**
 * References to what is shared, then the rest.
 * @param sharedBase bytes from where shared ids count to the shared area
 */
export function writeXattrBody(
  view: DataView,
  image: Uint8Array,
  at: number,
  entries: readonly XattrEntry[],
  version: FormatVersion,
  sharedBase: number,
): void {
  const limit = sharedLimit(version);
  const { nameFilter, sharedCount } = RawXattrHeader.fields;
  let bits = 0;
  let count = 0;
  let next = at + RawXattrHeader.size;
  for (const { name, sharedAt } of entries) {
    bits |= name.filterBit;
    if (sharedAt === NOT_SHARED || count === limit) continue;
    view.setUint32(next, (sharedBase + sharedAt) / XATTR_UNIT, true);
    next += RawXattrId.size;
    count++;
  }
  view.setUint32(at + nameFilter.offset, ~bits >>> 0, true);
  view.setUint8(at + sharedCount.offset, count);
  for (const entry of entries) {
    if (entry.sharedAt !== NOT_SHARED && count-- > 0) continue; // the first ones are referred to
    writeXattrEntry(image, next, entry);
    next += entry.size;
  }
}
