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
    fields.push(`${escapeText(name, true)}=${escapeText(byteString(node.xattrs.get(name)!), true)}`); // a key of the map
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

/** Visible ASCII as it is, everything else escaped; `=` too inside of xattrs. */
function escapeText(text: ByteString, escapeEqual = false): string {
  if (!(escapeEqual ? NEEDS_ESCAPE_EQUAL : NEEDS_ESCAPE).test(text)) return text;
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const short = SHORT_ESCAPES[code];
    if (short !== undefined) out += short;
    else if (code <= 0x20 || code >= 0x7f || (escapeEqual && code === 0x3d))
      out += `\\x${code.toString(16).padStart(2, "0")}`;
    else out += text[i];
  }
  return out;
}

const NEEDS_ESCAPE = /[^!-[\]-~]/; // all but visible ASCII without the backslash
const NEEDS_ESCAPE_EQUAL = /[^!-<>-[\]-~]/;
const SHORT_ESCAPES: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };
