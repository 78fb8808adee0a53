/** The xattrs of an inode, of the file's own and of what overlayfs is to see; an escaped whiteout's and an opaque root's, too. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import type { Node } from "../../tree/index.ts";
import { ALGORITHM_NUMBERS } from "../fsverity/index.ts";
import { ExternalContent, storedContent } from "./content.ts";
import {
  ESCAPE_PREFIX,
  ESCAPED_OPAQUE,
  ESCAPED_WHITEOUT,
  ESCAPED_WHITEOUTS,
  type FormatVersion,
  METACOPY,
  METACOPY_HEAD_SIZE,
  OPAQUE,
  OVERLAY_PREFIX,
  REDIRECT,
  USER_OPAQUE,
  USER_WHITEOUT,
  USER_WHITEOUTS,
} from "./format.ts";
import type { XattrEntry, XattrTable } from "./xattrs.ts";

const EMPTY = "" as ByteString;
const X = "x" as ByteString;
const Y = "y" as ByteString;
export const NO_XATTR_ENTRIES: readonly XattrEntry[] = [];

const byXattrName = (a: XattrEntry, b: XattrEntry): number =>
  a.name.text < b.name.text ? -1 : a.name.text > b.name.text ? 1 : 0;

/** The xattrs for the content come first, then the file's own by their names on it. */
export function xattrsOf(node: Node, table: XattrTable): readonly XattrEntry[] {
  const content = node.type === "file" ? storedContent(node) : undefined;
  if (node.xattrs.size === 0 && !(content instanceof ExternalContent)) return NO_XATTR_ENTRIES;
  const entries: XattrEntry[] = [];
  // What sends overlayfs to the object that holds the content.
  if (content instanceof ExternalContent) {
    const { digest, payload } = content;
    entries.push(table.entry(METACOPY, digest === undefined ? EMPTY : metacopy(digest)));
    // Not a clean join: a payload that begins with a slash gets two, as mkcomposefs does it.
    if (payload !== undefined && payload !== "") entries.push(table.entry(REDIRECT, `/${payload}` as ByteString));
  }
  if (node.xattrs.size > 0)
    for (const name of [...node.xattrs.keys()].sort())
      entries.push(table.entry(escapedName(name), byteString(node.xattrs.get(name)!))); // a key of the map
  return entries;
}

/** overlayfs's own names on the file are content here: escaped, so that it does not act on them. */
function escapedName(name: ByteString): ByteString {
  return name.startsWith(OVERLAY_PREFIX) ? ((ESCAPE_PREFIX + name.slice(OVERLAY_PREFIX.length)) as ByteString) : name;
}

/** struct ovl_metacopy: version 0, its own size, no flags, FS_VERITY_HASH_ALG_*, the digest. */
function metacopy(digest: ByteString): ByteString {
  return (METACOPY_HEADS[digest.length === DIGEST_SIZES.sha256 ? "sha256" : "sha512"] + digest) as ByteString;
}

const metacopyHead = (algorithm: HashAlgorithm): string =>
  String.fromCharCode(0, METACOPY_HEAD_SIZE + DIGEST_SIZES[algorithm], 0, ALGORITHM_NUMBERS[algorithm]);
const METACOPY_HEADS: Readonly<Record<HashAlgorithm, string>> = /* @__PURE__ */ (() => ({
  sha256: metacopyHead("sha256"),
  sha512: metacopyHead("sha512"),
}))();

/** Sets entries over those of the same name. */
export function withEntries(entries: readonly XattrEntry[], more: readonly XattrEntry[]): XattrEntry[] {
  const names = new Set(more.map(({ name }) => name));
  return [...entries.filter(({ name }) => !names.has(name)), ...more];
}

/** In order of the names, as mkcomposefs writes them; most lists are as they come. */
export function sorted(entries: readonly XattrEntry[]): readonly XattrEntry[] {
  return isSorted(entries) ? entries : [...entries].sort(byXattrName);
}

function isSorted(entries: readonly XattrEntry[]): boolean {
  for (let i = 1; i < entries.length; i++) if (byXattrName(entries[i - 1]!, entries[i]!) > 0) return false; // below the length
  return true;
}

/** Of a directory that holds whiteouts. Version 1 differs from version 0 in these and in its number only. */
export function whiteoutMarks(version: FormatVersion, table: XattrTable): XattrEntry[] {
  const marks = [table.entry(ESCAPED_WHITEOUTS, EMPTY), table.entry(USER_WHITEOUTS, EMPTY)];
  return version === 0 ? marks : [...marks, table.entry(ESCAPED_OPAQUE, X), table.entry(USER_OPAQUE, X)];
}

/** Of the empty file that stands for a whiteout. */
export const whiteoutMark = (table: XattrTable): XattrEntry[] => [
  table.entry(ESCAPED_WHITEOUT, EMPTY),
  table.entry(USER_WHITEOUT, EMPTY),
];

/** Of the root, so that nothing below it shows through. */
export const opaqueMark = (table: XattrTable): XattrEntry[] => [table.entry(OPAQUE, Y)];
