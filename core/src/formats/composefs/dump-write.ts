/** Writes the dump format as `composefs-info dump` does; see dump-read.ts. */
import { type ByteString, byteString, bytesOf, toHex } from "../../bytes/index.ts";
import { type Directory, directoryLinks, type Leaf, type Node, TYPE_BITS, walkTree } from "../../tree/index.ts";
import { splitTime } from "../erofs/inodes.ts";
import { ExternalContent, storedContent } from "./content.ts";
import type { Homes } from "./survey.ts";

export interface DumpOptions {
  /** Of a dump or an image; where absent, the first name in canonical order is the home and names are counted. */
  readonly homes?: Homes | undefined;
  /** Bytes of directories, as an image has them; 0 where absent. */
  readonly directorySizes?: ReadonlyMap<Directory, number> | undefined;
}

/**
 * A line for each name in canonical path order, newline included; ASCII. Xattrs come in order of their names. The tree's
 * contents are stored (content.ts).
 */
export function* dumpLines(root: Directory, { homes, directorySizes }: DumpOptions = {}): Generator<string> {
  const first = homes === undefined ? firstNames(root) : undefined;
  const homePaths = homes === undefined ? first!.paths : pathsOfHomes(root, homes);
  for (const { path, node } of walkTree(root)) {
    const home = node.type === "directory" ? undefined : homePaths.get(node);
    const target = home !== undefined && home !== path ? home : undefined;
    const links =
      node.type === "directory" ? directoryLinks(node) : (homes?.get(node)?.links ?? first?.counts.get(node) ?? 1);
    const size = node.type === "directory" ? (directorySizes?.get(node) ?? 0) : sizeOf(node);
    yield `${dumpLine(path, node, { links, size, target })}\n`;
  }
}

/**
 * A line for each name below the root as `composefs-info ls` writes it, newline included; ASCII. What is behind a tab is the
 * target of a link or the object of a file; of a file with several names only the first has it.
 */
export function* listLines(root: Directory, homes: Homes): Generator<string> {
  const paths = pathsOfHomes(root, homes);
  for (const { path, node } of walkTree(root)) {
    if (path === "") continue;
    const shown = escapeText(`/${path}` as ByteString, NEEDS_ESCAPE_NAME);
    const isHome = node.type === "directory" || (paths.get(node) ?? path) === path;
    yield `${shown}${node.type === "directory" ? "/\t" : isHome ? behindTab(node) : ""}\n`;
  }
}

function behindTab(node: Leaf): string {
  if (node.type === "symlink") return `\t-> ${escapeText(node.target)}`;
  const content = node.type === "file" ? storedContent(node) : undefined;
  const payload = content instanceof ExternalContent ? content.payload : undefined;
  return payload === undefined ? "" : `\t@ ${escapeText(payload)}`;
}

/** One line without its newline. */
export function dumpLine(
  path: ByteString,
  node: Node,
  { links, size, target }: { readonly links: number; readonly size: number; readonly target?: ByteString | undefined },
): string {
  const { seconds, nanoseconds } = splitTime(node.mtime);
  const content = node.type === "file" ? storedContent(node) : undefined;
  const external = content instanceof ExternalContent ? content : undefined;
  const payload = node.type === "symlink" ? node.target : external?.payload;
  const inline = content !== undefined && external === undefined && content.size > 0 ? content : undefined;
  const fields = [
    escapeText(`/${path}` as ByteString),
    size,
    `${target === undefined ? "" : "@"}${(TYPE_BITS[node.type] | node.mode).toString(8)}`,
    links,
    node.uid,
    node.gid,
    deviceNumber(node),
    `${seconds}.${nanoseconds}`,
    optional(target === undefined ? payload : (`/${target}` as ByteString)),
    inline === undefined || inline instanceof ExternalContent ? "-" : optional(byteString(inline.bytes)),
    external?.digest === undefined ? "-" : toHex(bytesOf(external.digest)),
  ];
  for (const name of [...node.xattrs.keys()].sort())
    fields.push(`${escapeXattr(name)}=${escapeXattr(byteString(node.xattrs.get(name)!))}`); // a key of the map
  return fields.join(" ");
}

/** `st_size` as a dump tells it. */
export function sizeOf(node: Leaf): number {
  if (node.type === "file") return node.content.size;
  return node.type === "symlink" ? node.target.length : 0;
}

function deviceNumber(node: Node): number {
  if (node.type !== "character" && node.type !== "block") return 0;
  return ((node.minor & 0xff) | (node.major << 8) | ((node.minor & ~0xff) << 12)) >>> 0;
}

function firstNames(root: Directory): { paths: Map<Leaf, ByteString>; counts: Map<Leaf, number> } {
  const paths = new Map<Leaf, ByteString>();
  const counts = new Map<Leaf, number>();
  for (const { path, node } of walkTree(root)) {
    if (node.type === "directory") continue;
    if (!paths.has(node)) paths.set(node, path);
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  return { paths, counts };
}

function pathsOfHomes(root: Directory, homes: Homes): Map<Leaf, ByteString> {
  const paths = new Map<Leaf, ByteString>();
  for (const { path, node, parent } of walkTree(root)) {
    if (node.type === "directory") continue;
    const home = homes.get(node);
    if (home !== undefined && home.parent === parent && path.endsWith(home.name)) {
      const start = path.length - home.name.length;
      if (start === 0 || path[start - 1] === "/") paths.set(node, path);
    }
  }
  return paths;
}

function optional(text: ByteString | undefined): string {
  if (text === undefined) return "-";
  return text === "-" ? "\\x2d" : escapeText(text);
}

const NEEDS_ESCAPE = /[^!-[\]-~]/; // all but visible ASCII without the backslash
const NEEDS_ESCAPE_XATTR = /[^!-<>-[\]-~]/; // `=` too
const NEEDS_ESCAPE_NAME = /[^ -[\]-~]/; // a blank stays
const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" };

/** Visible ASCII as it is, everything else escaped. */
function escapeText(text: ByteString, needsEscape = NEEDS_ESCAPE): string {
  if (!needsEscape.test(text)) return text;
  let out = "";
  for (const byte of text)
    out += needsEscape.test(byte)
      ? (SHORT_ESCAPES[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`)
      : byte;
  return out;
}

const escapeXattr = (text: ByteString): string => escapeText(text, NEEDS_ESCAPE_XATTR);
