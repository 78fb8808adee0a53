/** Extended attributes on the writing side: names to indexes, filters, what is shared, and the bytes. */
import { alignUp, type ByteString, byteString, bytesOf } from "../../bytes/index.ts";
import { RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_UNIT } from "../erofs/format.ts";
import { type FormatVersion, MAX_SHARED, XATTR_FILTER_SEED, XATTR_PREFIXES } from "./format.ts";
import { xxh32 } from "./xxh32.ts";

/** A name and value; one object for all inodes that have them. */
export interface XattrEntry {
  readonly name: ByteString;
  readonly value: Uint8Array;
  /** The value as a byte string, to compare. */
  readonly text: ByteString;
  /** Index in XATTR_PREFIXES. */
  readonly index: number;
  /** Bytes of the prefix that the index stands for. */
  readonly prefixSize: number;
  /** Bytes on disk. */
  readonly size: number;
  /** This name's bit of an inode's filter, set. */
  readonly filterBit: number;
  uses: number;
  /** Bytes from the start of the shared area; undefined while it is not shared. */
  sharedAt: number | undefined;
}

/** Entries by name and value, over all inodes of an image. */
export interface XattrTable {
  entry(name: ByteString, value: Uint8Array): XattrEntry;
  readonly entries: Iterable<XattrEntry>;
}

/** In the order in which prefixes are tried; the first that fits is taken, ACL names with more behind them included. */
const SEARCH_ORDER: Readonly<Record<FormatVersion, readonly number[]>> = {
  // The C library has no `lustre.`: such names go in whole, under index 0.
  0: [1, 2, 3, 4, 6, 0],
  1: [1, 2, 3, 4, 6, 0],
  2: [6, 5, 4, 3, 2, 1, 0],
};

export function xattrTable(version: FormatVersion): XattrTable {
  const order = SEARCH_ORDER[version];
  const known = new Map<string, XattrEntry>();
  return {
    entry(name, value) {
      const text = byteString(value);
      const key = `${name}\0${text}`; // names hold no NUL
      let entry = known.get(key);
      if (entry === undefined) {
        const index = order.find((i) => name.startsWith(XATTR_PREFIXES[i]!)) ?? 0; // the prefix of 0 always fits
        const prefixSize = XATTR_PREFIXES[index]!.length; // an index of the table
        const size = alignUp(RawXattrEntry.size + name.length - prefixSize + value.length, XATTR_UNIT);
        const hash = xxh32(name.slice(prefixSize) as ByteString, XATTR_FILTER_SEED + index);
        const filterBit = 1 << (hash & 31);
        entry = { name, value, text, index, prefixSize, size, filterBit, uses: 0, sharedAt: undefined };
        known.set(key, entry);
      }
      entry.uses++;
      return entry;
    },
    get entries() {
      return known.values();
    },
  };
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);

/** Descending by whole name, then by length of the value, then by value. */
const orderOfC = (a: XattrEntry, b: XattrEntry): number =>
  compare(b.name, a.name) || compare(b.value.length, a.value.length) || compare(b.text, a.text);

/** Ascending by index of the prefix, then by the rest of the name, then by value. */
const orderOfRust = (a: XattrEntry, b: XattrEntry): number =>
  compare(a.index, b.index) ||
  compare(a.name.slice(a.prefixSize), b.name.slice(b.prefixSize)) ||
  compare(a.text, b.text);

/** Shares what more than one inode has. Returns the shared area's entries in their order, and its bytes. */
export function shareXattrs(table: XattrTable, version: FormatVersion): { shared: XattrEntry[]; size: number } {
  const shared = [...table.entries].filter(({ uses }) => uses > 1).sort(version === 2 ? orderOfRust : orderOfC);
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
  const shared: XattrEntry[] = [];
  const inline: XattrEntry[] = [];
  let size = RawXattrHeader.size;
  for (const entry of entries)
    if (entry.sharedAt !== undefined && shared.length < limit) {
      shared.push(entry);
      size += RawXattrId.size;
    } else {
      inline.push(entry);
      size += entry.size;
    }
  return { shared, inline, size };
}

export function writeXattrEntry(target: Uint8Array, at: number, entry: XattrEntry): void {
  const { name, prefixSize, index, value } = entry;
  const suffix = bytesOf(name.slice(prefixSize) as ByteString);
  target.set(RawXattrEntry.encode({ nameSize: suffix.length, nameIndex: index, valueSize: value.length }), at);
  target.set(suffix, at + RawXattrEntry.size);
  target.set(value, at + RawXattrEntry.size + suffix.length);
}

/** @param sharedBase bytes from where shared ids count to the shared area */
export function writeXattrBody(target: Uint8Array, at: number, body: XattrBody, sharedBase: number): void {
  let bits = 0;
  for (const { filterBit } of body.shared) bits |= filterBit;
  for (const { filterBit } of body.inline) bits |= filterBit;
  const header = { nameFilter: ~bits >>> 0, sharedCount: body.shared.length, reserved: new Uint8Array(0) };
  target.set(RawXattrHeader.encode(header), at);
  at += RawXattrHeader.size;
  for (const { sharedAt } of body.shared) {
    target.set(RawXattrId.encode({ id: (sharedBase + sharedAt!) / XATTR_UNIT }), at); // shared entries have a place
    at += RawXattrId.size;
  }
  for (const entry of body.inline) {
    writeXattrEntry(target, at, entry);
    at += entry.size;
  }
}
