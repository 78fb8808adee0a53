/**
 * The name filter of an inode's xattrs: 32 bits, of which one that is set says that no name with this hash is there.
 * Spec: Linux fs/erofs/xattr.c, erofs_getxattr.
 */
import type { ByteString } from "../../bytes/index.ts";
import { XATTR_FILTER_BITS, XATTR_FILTER_SEED, XATTR_PREFIXES } from "./format.ts";
import { xxh32 } from "./xxh32.ts";

/** Number of the bit that speaks of this name; undefined for a name that no prefix stands for. */
export function filterBit(name: ByteString): number | undefined {
  for (const [index, known] of XATTR_PREFIXES.entries()) {
    if (known === undefined || (known.whole ? name !== known.prefix : !name.startsWith(known.prefix))) continue;
    return xxh32(name.slice(known.prefix.length) as ByteString, XATTR_FILTER_SEED + index) % XATTR_FILTER_BITS;
  }
  return undefined;
}
