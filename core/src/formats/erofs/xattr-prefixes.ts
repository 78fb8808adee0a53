/** What stands in front of the names of xattrs: the prefixes that all images know, and those of the image itself. */
import { alignUp, type ByteString, byteString } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { COMPAT, LONG_PREFIX_BIT, LONG_PREFIX_UNIT, MAX_NAME_SIZE, RawLongPrefix, XATTR_PREFIXES } from "./format.ts";
import type { Volume } from "./volume.ts";

/** Name prefixes by index; undefined where names of that index are not read. */
export type XattrPrefixes = readonly (string | undefined)[];

export const PLAIN_PREFIXES: XattrPrefixes = /* @__PURE__ */ XATTR_PREFIXES.map((known) => known?.prefix);

/** A prefix that the image defines. */
export interface LongPrefix {
  /** Index of the prefix that all images know with which it begins. */
  readonly baseIndex: number;
  /** What follows that. */
  readonly infix: ByteString;
}

/** The prefix that the `nameIndex` of an entry stands for. Throws UnsupportedError `xattr-namespace`, FormatError `bad-xattr`. */
export function prefixOf(nameIndex: number, short: XattrPrefixes, long: readonly LongPrefix[], where: string): string {
  let base = nameIndex;
  let infix = "";
  if ((nameIndex & LONG_PREFIX_BIT) !== 0) {
    const found = long[nameIndex & ~LONG_PREFIX_BIT];
    if (found === undefined)
      throw new FormatError(
        "bad-xattr",
        `${where}: long xattr prefix ${nameIndex & ~LONG_PREFIX_BIT} of ${long.length}`,
      );
    base = found.baseIndex;
    ({ infix } = found);
  }
  const prefix = short[base];
  if (prefix === undefined)
    throw new UnsupportedError("xattr-namespace", `${where}: xattr name index ${base} is not implemented`);
  return prefix + infix;
}

/** The image's own prefixes: in the image, in the metabox or in the packed inode. Throws FormatError `bad-xattr-prefix`. */
export async function readLongPrefixes(volume: Volume): Promise<LongPrefix[]> {
  const { xattrPrefixCount: count, xattrPrefixStart, featureCompat, packedNid } = volume.superblock;
  if (count === 0) return [];
  let source: Source = volume.metadata;
  if ((featureCompat & COMPAT.plainXattrPrefixes) === 0) {
    if (volume.metabox !== undefined) source = volume.metabox;
    else if (packedNid !== undefined) source = await volume.packed();
  }
  const prefixes: LongPrefix[] = [];
  for (let at = xattrPrefixStart; prefixes.length < count; ) {
    const bad = (what: string): FormatError =>
      new FormatError("bad-xattr-prefix", `xattr prefix ${prefixes.length} of ${count}: ${what}`, { offset: at });
    if (at + RawLongPrefix.size > source.size) throw bad("it lies outside the image");
    const { size, baseIndex } = RawLongPrefix.view(await source.read(at, RawLongPrefix.size));
    const infixSize = size - 1; // the index is counted
    if (infixSize < 0 || infixSize > MAX_NAME_SIZE) throw bad(`it has ${size} bytes`);
    const start = at + RawLongPrefix.size;
    if (start + infixSize > source.size) throw bad("it lies outside the image");
    prefixes.push({ baseIndex, infix: byteString(await source.read(start, infixSize)) });
    at = alignUp(start + infixSize, LONG_PREFIX_UNIT);
  }
  return prefixes;
}
