/** Extended attributes on the writing side: names to indexes, what is shared, and the bytes. */
import { alignUp, type ByteString, byteString, bytesOf, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { MAX_NAME_SIZE, RawXattrEntry, RawXattrHeader, RawXattrId, XATTR_PREFIXES, XATTR_UNIT } from "./format.ts";

const MAX_VALUE_SIZE = 0xffff; // bytes; e_value_size has 16 bits, one byte less than Linux's XATTR_SIZE_MAX
const MAX_SHARED = 0xff; // shared ids of one inode; h_shared_count has 8 bits
const MAX_BODY_SIZE = RawXattrHeader.size + 0xfffe * XATTR_UNIT; // bytes; i_xattr_icount has 16 bits

/** An encoded entry; entries with the same name and value are one object. */
interface Entry {
  readonly bytes: Uint8Array;
  /** How many inodes have it. */
  uses: number;
  /** 4-byte units from the start of the shared area; undefined while it stands inline. */
  sharedId: number | undefined;
}

/** What follows an inode that has xattrs. */
export interface XattrBody {
  /** Bytes, header included. */
  readonly size: number;
  readonly shared: readonly Entry[];
  readonly inline: readonly Entry[];
}

export interface XattrPlan {
  /** Undefined where the inode has none. */
  readonly bodies: readonly (XattrBody | undefined)[];
  /** In the order of the shared area. */
  readonly shared: readonly Uint8Array[];
  /** Bytes of the shared area, not rounded to blocks. */
  readonly sharedSize: number;
}

function splitName(name: ByteString, path: string): { index: number; suffix: ByteString } {
  const shown = showBytes(name);
  if (name.length > MAX_NAME_SIZE)
    throw new UnsupportedError(
      "xattr-name",
      `${path}: the name of an xattr has ${name.length} bytes, more than ${MAX_NAME_SIZE}`,
      { path, expected: MAX_NAME_SIZE, actual: name.length },
    );
  if (name.includes("\0")) throw new FormatError("bad-xattr", `${path}: xattr name ${shown} holds a NUL`, { path });
  for (const [index, known] of XATTR_PREFIXES.entries()) {
    if (known === undefined) continue;
    if (known.whole ? name === known.prefix : name.startsWith(known.prefix) && name.length > known.prefix.length)
      return { index, suffix: name.slice(known.prefix.length) as ByteString };
  }
  throw new UnsupportedError("xattr-namespace", `${path}: EROFS has no place for xattr ${shown}`, { path });
}

function encodeEntry(name: ByteString, value: Uint8Array, path: string): Uint8Array {
  const { index, suffix } = splitName(name, path);
  if (value.length > MAX_VALUE_SIZE)
    throw new UnsupportedError(
      "xattr-value",
      `${path}: xattr ${showBytes(name)} has ${value.length} bytes, more than ${MAX_VALUE_SIZE}`,
      { path, expected: MAX_VALUE_SIZE, actual: value.length },
    );
  const bytes = new Uint8Array(alignUp(RawXattrEntry.size + suffix.length + value.length, XATTR_UNIT));
  bytes.set(RawXattrEntry.encode({ nameSize: suffix.length, nameIndex: index, valueSize: value.length }));
  bytes.set(bytesOf(suffix), RawXattrEntry.size);
  bytes.set(value, RawXattrEntry.size + suffix.length);
  return bytes;
}

/**
 * Decides for every inode what stands behind it and what is shared. An entry is shared when at least two inodes have
 * it and that takes fewer bytes. Pure; entries go by name in byte order, the shared area in order of first use.
 *
 * Throws UnsupportedError `xattr-namespace`, `xattr-name`, `xattr-value` or `xattr-total`, FormatError `bad-xattr`.
 *
 * @param inodes xattrs of each inode, and its path for errors
 */
export function planXattrs(
  inodes: readonly { readonly xattrs: ReadonlyMap<ByteString, Uint8Array>; path(): string }[],
): XattrPlan {
  const known = new Map<string, Entry>();
  const entries = inodes.map((inode) => {
    if (inode.xattrs.size === 0) return [];
    const path = inode.path();
    return [...inode.xattrs.keys()].sort().map((name) => {
      const value = inode.xattrs.get(name)!; // a key of the map
      const key = `${name}\0${byteString(value)}`; // names hold no NUL
      let entry = known.get(key);
      if (entry === undefined) {
        entry = { bytes: encodeEntry(name, value, path), uses: 0, sharedId: undefined };
        known.set(key, entry);
      }
      entry.uses++;
      return entry;
    });
  });
  const shared: Uint8Array[] = [];
  let sharedSize = 0;
  function share(entry: Entry): boolean {
    const { uses, bytes } = entry;
    if (bytes.length + uses * XATTR_UNIT >= uses * bytes.length) return false; // holds for a single use
    if (entry.sharedId === undefined) {
      entry.sharedId = sharedSize / XATTR_UNIT;
      shared.push(bytes);
      sharedSize += bytes.length;
    }
    return true;
  }
  const bodies = entries.map((own, i) => {
    if (own.length === 0) return undefined;
    const sharedHere: Entry[] = [];
    const inline: Entry[] = [];
    let size = RawXattrHeader.size;
    for (const entry of own) {
      const isShared = sharedHere.length < MAX_SHARED && share(entry);
      (isShared ? sharedHere : inline).push(entry);
      size += isShared ? RawXattrId.size : entry.bytes.length;
    }
    if (size > MAX_BODY_SIZE) {
      const path = inodes[i]!.path(); // same length
      throw new UnsupportedError("xattr-total", `${path}: xattrs take ${size} bytes, more than ${MAX_BODY_SIZE}`, {
        path,
        expected: MAX_BODY_SIZE,
        actual: size,
      });
    }
    return { size, shared: sharedHere, inline };
  });
  return { bodies, shared, sharedSize };
}

/** The inode field that tells a body's size. */
export function xattrICount(body: XattrBody | undefined): number {
  return body === undefined ? 0 : 1 + (body.size - RawXattrHeader.size) / XATTR_UNIT;
}

export function encodeXattrBody(body: XattrBody): Uint8Array {
  const bytes = new Uint8Array(body.size);
  bytes.set(RawXattrHeader.encode({ nameFilter: 0, sharedCount: body.shared.length, reserved: new Uint8Array(0) }));
  let at = RawXattrHeader.size;
  for (const entry of body.shared) {
    bytes.set(RawXattrId.encode({ id: entry.sharedId! }), at); // planXattrs gave every shared entry its id
    at += RawXattrId.size;
  }
  for (const entry of body.inline) {
    bytes.set(entry.bytes, at);
    at += entry.bytes.length;
  }
  return bytes;
}
