/** Canonical order, link counts and look-up. */
import { type ByteString, showBytes } from "../bytes/index.ts";
import { FormatError } from "../errors/index.ts";
import type { Directory, Node } from "./tree.ts";

/** Deepest directory nesting that is followed. Linux itself stops at PATH_MAX = 4096 bytes. */
export const MAX_DEPTH = 2048;

/** Bytes of a path that Linux takes (PATH_MAX): longer ones, which only a forged image has, would cost more memory than it. */
export const MAX_PATH_LENGTH = 4096;

/** Symbolic links followed in one look-up, as Linux does (MAXSYMLINKS). */
export const MAX_SYMLINKS = 40;

export interface Visit {
  /** Path from the root without a leading slash; the root's is empty. */
  readonly path: ByteString;
  readonly node: Node;
  /** The directory that holds the name; undefined for the root. */
  readonly parent: Directory | undefined;
}

export function joinPath(directory: ByteString, name: ByteString): ByteString {
  return (directory === "" ? name : `${directory}/${name}`) as ByteString;
}

/** Which of two different paths comes first in canonical order: below 0 where it is `a`. */
export function comparePaths(a: ByteString, b: ByteString): number {
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left === right) continue;
    // A name that has ended comes before every longer one, whatever byte that goes on with.
    return left === SLASH ? -1 : right === SLASH ? 1 : left - right;
  }
  return a.length - b.length;
}

const SLASH = 0x2f;

/** The entries of a directory by name, in byte order. */
export function sortedEntries(directory: Directory): [ByteString, Node][] {
  const entries = [...directory.entries];
  // Most come from something that is in order.
  for (let i = 1; i < entries.length; i++)
    // below the length
    if (entries[i - 1]![0] > entries[i]![0]) return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return entries;
}

/**
 * Every name in canonical path order: a directory before its entries, entries by name as bytes. A file with several
 * names comes once a name. Throws FormatError `too-deep` past {@link MAX_DEPTH}.
 */
export function* walkTree(root: Directory): Generator<Visit> {
  const none = "" as ByteString;
  yield { path: none, node: root, parent: undefined };
  // A stack of its own: of generators within each other every name would cost as many steps as it is deep.
  const open = [{ parent: root, path: none, rest: sortedEntries(root).values() }];
  for (let here = open.at(-1); here !== undefined; here = open.at(-1)) {
    const { done, value } = here.rest.next();
    if (done === true) {
      open.pop();
      continue;
    }
    const [name, node] = value;
    const path = joinPath(here.path, name);
    yield { path, node, parent: here.parent };
    if (node.type !== "directory") continue;
    if (open.length >= MAX_DEPTH)
      throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}: ${showPath(path)}`);
    open.push({ parent: node, path, rest: sortedEntries(node).values() });
  }
}

/** How many names each leaf has; a leaf that is absent has none. */
export function countNames(root: Directory): Map<Node, number> {
  const counts = new Map<Node, number>();
  for (const { node } of walkTree(root)) if (node.type !== "directory") counts.set(node, (counts.get(node) ?? 0) + 1);
  return counts;
}

/** `st_nlink` of a directory: `.`, its name in the parent, and `..` of each subdirectory. */
export function directoryLinks(directory: Directory): number {
  let links = 2;
  for (const node of directory.entries.values()) if (node.type === "directory") links++;
  return links;
}

/** A path as people read it: absolute, escapes for what is not UTF-8. */
export function showPath(path: ByteString): string {
  return `/${showBytes(path)}`;
}

/**
 * Components of a path; empty ones and `.` are dropped, `..` is kept. Paths are byte strings everywhere here; plain
 * `string` is accepted because an ASCII literal is one.
 */
export function splitPath(path: string): ByteString[] {
  return (path.split("/") as ByteString[]).filter((name) => name !== "" && name !== ".");
}

/** The node at exactly this path, without following any link. Undefined where there is none. */
export function getNode(root: Directory, path: string): Node | undefined {
  let node: Node | undefined = root;
  for (const name of splitPath(path)) {
    if (node?.type !== "directory") return undefined;
    node = node.entries.get(name);
  }
  return node;
}

export interface Resolved {
  /** Where the node really is, without any link in it. */
  readonly path: ByteString;
  readonly node: Node;
  /** The links that were followed, in order: path of each link. */
  readonly links: readonly ByteString[];
}

/**
 * Follows links as the kernel would with this tree as `/`; `..` at the root stays there. The last component is
 * followed too unless `followLast` is false. Undefined where nothing is there or the links go round.
 */
export function resolvePath(
  root: Directory,
  path: string,
  options: { readonly followLast?: boolean } = {},
): Resolved | undefined {
  const followLast = options.followLast ?? true;
  const links: ByteString[] = [];
  const pending = splitPath(path).reverse(); // next component last
  let trail: { readonly name: ByteString; readonly node: Node }[] = [];
  const here = (): Node => trail.at(-1)?.node ?? root;
  const herePath = (): ByteString => trail.map(({ name }) => name).join("/") as ByteString;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const parent = here();
    if (parent.type !== "directory") return undefined;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const node = parent.entries.get(name);
    if (node === undefined) return undefined;
    if (node.type === "symlink" && (pending.length > 0 || followLast)) {
      links.push(joinPath(herePath(), name));
      if (links.length > MAX_SYMLINKS) return undefined;
      if (node.target.startsWith("/")) trail = [];
      pending.push(...splitPath(node.target).reverse());
      continue;
    }
    trail.push({ name, node });
  }
  return { path: herePath(), node: here(), links };
}
