/** First step of writing: a walk that counts names and refuses what no image can hold. */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import { FormatError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import { type Directory, type Leaf, type Node, type RegularFile, showPath, walkTree } from "../../tree/index.ts";
import { checkName, checkNode } from "../erofs/inodes.ts";
import { ExternalContent, storedContent } from "./content.ts";
import { BLOCK_BITS, MAX_CHUNK_BITS, MAX_XATTR_TOTAL, MAX_XATTR_VALUE } from "./format.ts";

/** A leaf and the name under which its inode stands: the other names only point there. */
export interface Home {
  parent: Directory;
  name: ByteString;
  /** `st_nlink`. */
  links: number;
}

/** What a dump says beyond the tree. */
export type Homes = ReadonlyMap<Leaf, Readonly<Home>>;

export interface Survey {
  /** Of leaves with more names than one, and of those whose `st_nlink` is told. */
  readonly homes: Homes;
  readonly hasWhiteouts: boolean;
}

/** A character device 0:0: on overlayfs it hides a file of a lower layer. */
export function isWhiteout(node: Node): boolean {
  return node.type === "character" && node.major === 0 && node.minor === 0;
}

/** log2 of the bytes of a chunk, so that one is enough wherever possible, and how many the file takes. */
export function chunking(size: number): { readonly bits: number; readonly count: number } {
  const bits = Math.min(Math.max(ceilLog2(size), BLOCK_BITS), MAX_CHUNK_BITS);
  return { bits, count: Math.ceil(size / 2 ** bits) };
}

function ceilLog2(size: number): number {
  if (size <= 2 ** 32) return 32 - Math.clz32(size - 1);
  return 64 - Math.clz32(Math.floor((size - 1) / 2 ** 32));
}

export interface Limits {
  /** Bytes of content that may stand in the image. */
  readonly maxInline: number;
  /** Of all digests. */
  readonly algorithm: HashAlgorithm;
}

/**
 * Throws FormatError `bad-name`, `bad-link`, `bad-xattr`, `directory-linked`, `whiteout-linked` or `too-deep` for what
 * no tree may have; UnsupportedError `name-too-long`, `link-too-long`, `owner`, `device`, `time`, `xattr-name`,
 * `xattr-value`, `xattr-total` or `inline-too-large` for what composefs has no place for; PolicyError
 * `composefs-algorithm` for a digest of another size.
 *
 * @param told of a dump; where absent, the first name in canonical order is the home and names are counted
 */
export function surveyTree(root: Directory, told: Homes | undefined, limits: Limits): Survey {
  const seen = new Set<Node>();
  let isLinked = false;
  let hasWhiteouts = false;
  for (const { path, node, parent } of walkTree(root)) {
    if (parent !== undefined) checkName(path.slice(path.lastIndexOf("/") + 1), path);
    // Whoever tells names them all.
    if (told === undefined || node.type === "directory" || told.has(node)) {
      const before = seen.size;
      if (seen.add(node).size === before) {
        refuseLink(node, path);
        isLinked = true;
        continue;
      }
    }
    checkNode(node, path);
    checkXattrs(node, path);
    if (node.type === "file") checkContent(node, path, limits);
    hasWhiteouts ||= isWhiteout(node);
  }
  return { homes: told ?? (isLinked ? countHomes(root) : new Map()), hasWhiteouts };
}

/** Leaves with several names, and the first of them. */
function countHomes(root: Directory): Homes {
  const homes = new Map<Leaf, Home>();
  for (const { path, node, parent } of walkTree(root)) {
    if (parent === undefined || node.type === "directory") continue;
    const home = homes.get(node);
    if (home !== undefined) home.links++;
    else homes.set(node, { parent, name: path.slice(path.lastIndexOf("/") + 1) as ByteString, links: 1 });
  }
  for (const [leaf, { links }] of homes) if (links === 1) homes.delete(leaf);
  return homes;
}

function refuseLink(node: Node, path: ByteString): void {
  const shown = showPath(path);
  if (node.type === "directory")
    throw new FormatError("directory-linked", `${shown} is a second name of a directory`, { path: shown });
  if (isWhiteout(node))
    throw new FormatError("whiteout-linked", `${shown} is a second name of a whiteout`, { path: shown });
}

function checkXattrs({ xattrs }: Node, path: ByteString): void {
  if (xattrs.size === 0) return;
  const shown = showPath(path);
  let total = 12;
  for (const [name, value] of xattrs) {
    total += 7 + name.length + value.length;
    if (name === "" || name.includes("\0"))
      throw new FormatError("bad-xattr", `${shown}: an xattr name ${name === "" ? "is empty" : "holds a NUL"}`, {
        path: shown,
      });
    if (name.length > 255)
      throw new UnsupportedError(
        "xattr-name",
        `${shown}: the name of an xattr has ${name.length} bytes, more than 255`,
        {
          path: shown,
          expected: 255,
          actual: name.length,
        },
      );
    if (value.length > MAX_XATTR_VALUE)
      throw new UnsupportedError(
        "xattr-value",
        `${shown}: xattr ${showBytes(name)} has ${value.length} bytes, more than ${MAX_XATTR_VALUE}`,
        {
          path: shown,
          expected: MAX_XATTR_VALUE,
          actual: value.length,
        },
      );
  }
  if (total > MAX_XATTR_TOTAL)
    throw new UnsupportedError("xattr-total", `${shown}: xattrs take ${total} bytes, more than ${MAX_XATTR_TOTAL}`, {
      path: shown,
      expected: MAX_XATTR_TOTAL,
      actual: total,
    });
}

function checkContent(node: RegularFile, path: ByteString, { maxInline, algorithm }: Limits): void {
  const content = storedContent(node);
  if (content instanceof ExternalContent) {
    // A file of chunks always fits: 1024 chunks of 8 TiB are 2^53 bytes.
    const expected = DIGEST_SIZES[algorithm];
    const actual = content.digest?.length ?? expected;
    if (actual === expected) return;
    const shown = showPath(path);
    throw new PolicyError(
      "composefs-algorithm",
      `${shown}: its digest has ${actual} bytes, not those of ${algorithm}`,
      { path: shown, expected, actual },
    );
  }
  if (content.size <= maxInline) return;
  throw new UnsupportedError(
    "inline-too-large",
    `${showPath(path)}: ${content.size} bytes of content cannot stand in the image, at most ${maxInline} can`,
    { path: showPath(path), expected: maxInline, actual: content.size },
  );
}
