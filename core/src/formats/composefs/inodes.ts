/**
 * Second step of writing: the inodes in the order of the image, each as overlayfs is to see it. Versions 0 and 1 go
 * breadth first and follow `mkcomposefs`; version 2 goes depth first and follows composefs-rs. Both are reproduced with
 * their oddities, since digests depend on them; each oddity says so.
 */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { DIGEST_SIZES } from "../../hash/index.ts";
import { type Directory, type Leaf, type Node, type NodeType, sortedEntries } from "../../tree/index.ts";
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
  SELINUX,
  USER_OPAQUE,
  USER_WHITEOUT,
  USER_WHITEOUTS,
} from "./format.ts";
import { type Homes, isWhiteout, type Survey } from "./survey.ts";
import type { XattrEntry, XattrTable } from "./xattrs.ts";

/** What stands in the data of an inode. */
export type InodeData =
  | { readonly kind: "none" }
  | { readonly kind: "directory"; readonly entries: readonly DraftEntry[] }
  /** Content of a file or target of a link. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array | ByteString }
  /** Content that is elsewhere. */
  | { readonly kind: "chunks"; readonly size: number }
  | { readonly kind: "device"; readonly major: number; readonly minor: number };

export interface DraftEntry {
  readonly name: ByteString;
  /** Index of the inode; of a leaf whose home comes later it is filled in at the end. */
  inode: number;
}

/** An inode before places are fixed. */
export interface Draft {
  /** As the image shows it: an escaped whiteout is a file. */
  readonly type: NodeType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint;
  links: number;
  /** In the order of the inode. */
  xattrs: readonly XattrEntry[];
  data: InodeData;
}

const EMPTY = "" as ByteString;
const X = "x" as ByteString;
const Y = "y" as ByteString;
const NO_XATTR_ENTRIES: readonly XattrEntry[] = [];
const NONE: InodeData = { kind: "none" };
const NULL_DEVICE: InodeData = { kind: "device", major: 0, minor: 0 };
const DOT = "." as ByteString;
const DOT_DOT = ".." as ByteString;
/** Names of the objects' directories (`00` to `ff`) that the image must hide from the merged root. */
const STUBS = /* @__PURE__ */ Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0") as ByteString);

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** The xattrs for the content come first, then the file's own by their names on it. */
function xattrsOf(node: Node, table: XattrTable): readonly XattrEntry[] {
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
function metacopy(digest: Uint8Array): ByteString {
  const algorithm = ALGORITHM_NUMBERS[digest.length === DIGEST_SIZES.sha256 ? "sha256" : "sha512"];
  const head = String.fromCharCode(0, METACOPY_HEAD_SIZE + digest.length, 0, algorithm);
  return (head + byteString(digest)) as ByteString;
}

/** Sets entries over those of the same name. */
function withEntries(entries: readonly XattrEntry[], more: readonly XattrEntry[]): XattrEntry[] {
  const names = new Set(more.map(({ name }) => name));
  return [...entries.filter(({ name }) => !names.has(name)), ...more];
}

function dataOf(node: Node): InodeData {
  switch (node.type) {
    case "file": {
      const content = storedContent(node);
      if (content instanceof ExternalContent) return { kind: "chunks", size: content.size };
      return content.size === 0 ? NONE : { kind: "bytes", bytes: content.bytes };
    }
    case "symlink":
      return { kind: "bytes", bytes: node.target };
    case "character":
    case "block":
      return { kind: "device", major: node.major, minor: node.minor };
    default:
      return NONE;
  }
}

function draftOf(node: Node, links: number, table: XattrTable): Draft {
  const { type, mode, uid, gid, mtime } = node;
  return { type, mode, uid, gid, mtime, links, xattrs: xattrsOf(node, table), data: dataOf(node) };
}

function linksOf(node: Node, homes: Homes): number {
  return node.type === "directory" ? 2 : (homes.get(node)?.links ?? 1);
}

/** Entries that point to leaves whose inode had no index yet. */
type Open = { readonly entry: DraftEntry; readonly leaf: Leaf }[];

function resolveOpen(open: Open, known: ReadonlyMap<Leaf, number>): void {
  for (const { entry, leaf } of open) entry.inode = known.get(leaf)!; // every leaf has a home that was visited
}

/** A directory's inodes are in order before those of its subdirectories' entries (`lcfs_compute_tree`). */
export function listBreadthFirst(
  root: Directory,
  { homes }: Survey,
  version: FormatVersion,
  table: XattrTable,
): Draft[] {
  const rootDraft = draftOf(root, 2, table);
  const drafts: Draft[] = [rootDraft];
  const queue: { readonly node: Directory; readonly index: number; readonly parent: number }[] = [
    { node: root, index: 0, parent: 0 },
  ];
  const known = new Map<Leaf, number>();
  const open: Open = [];
  // `queue` grows while it is gone through.
  for (const { node, index, parent } of queue) {
    const draft = drafts[index]!; // queued with its draft
    const entries: DraftEntry[] = [
      { name: DOT, inode: index },
      { name: DOT_DOT, inode: parent },
    ];
    let hasWhiteout = false;
    const children: { readonly name: ByteString; readonly child: Node | undefined }[] = sortedEntries(node).map(
      ([name, child]) => ({ name, child }),
    );
    if (index === 0) {
      for (const name of STUBS) if (!node.entries.has(name)) children.push({ name, child: undefined });
      children.sort(byName);
    }
    for (const { name, child } of children) {
      const entry: DraftEntry = { name, inode: drafts.length };
      entries.push(entry);
      if (child === undefined) drafts.push(stubOf(root, table));
      else if (child.type === "directory") {
        draft.links++;
        queue.push({ node: child, index: drafts.length, parent: index });
        drafts.push(draftOf(child, 2, table));
      } else {
        const home = homes.get(child);
        if (home !== undefined && (home.parent !== node || home.name !== name)) {
          open.push({ entry, leaf: child });
          continue;
        }
        if (home !== undefined) known.set(child, drafts.length);
        const escaped = isWhiteout(child);
        hasWhiteout ||= escaped;
        drafts.push(escaped ? escapedWhiteout(child, table) : draftOf(child, linksOf(child, homes), table));
      }
    }
    entries.sort(byName);
    draft.data = { kind: "directory", entries };
    if (hasWhiteout) draft.xattrs = withEntries(draft.xattrs, whiteoutMarks(version, table));
  }
  resolveOpen(open, known);
  rootDraft.xattrs = withEntries(rootDraft.xattrs, [table.entry(OPAQUE, Y)]);
  for (const draft of drafts) if (!isSorted(draft.xattrs)) draft.xattrs = [...draft.xattrs].sort(byName);
  return drafts;
}

function isSorted(entries: readonly XattrEntry[]): boolean {
  for (let i = 1; i < entries.length; i++) if (entries[i - 1]!.name > entries[i]!.name) return false; // below the length
  return true;
}

/** Added after everything else, so it is not escaped like a whiteout of the tree. */
function stubOf({ uid, gid, mtime, xattrs }: Directory, table: XattrTable): Draft {
  const label = xattrs.get(SELINUX);
  const own = label === undefined ? NO_XATTR_ENTRIES : [table.entry(SELINUX, byteString(label))];
  return { type: "character", mode: 0o644, uid, gid, mtime, links: 1, xattrs: own, data: NULL_DEVICE };
}

/** A whiteout of the tree is content: an empty file with marks from which the inner overlayfs knows it. */
function escapedWhiteout(node: Node, table: XattrTable): Draft {
  const draft = draftOf(node, 1, table);
  const marks = [table.entry(ESCAPED_WHITEOUT, EMPTY), table.entry(USER_WHITEOUT, EMPTY)];
  return { ...draft, type: "file", xattrs: withEntries(draft.xattrs, marks), data: NONE };
}

/** Of a directory that holds whiteouts. Version 1 differs from version 0 in these and in its number only. */
function whiteoutMarks(version: FormatVersion, table: XattrTable): XattrEntry[] {
  const marks = [table.entry(ESCAPED_WHITEOUTS, EMPTY), table.entry(USER_WHITEOUTS, EMPTY)];
  return version === 0 ? marks : [...marks, table.entry(ESCAPED_OPAQUE, X), table.entry(USER_OPAQUE, X)];
}

/** A directory, then its entries, each with all below it; no stubs, no escaped whiteouts, no opaque root. */
export function listDepthFirst(root: Directory, { homes }: Survey, table: XattrTable): Draft[] {
  const drafts: Draft[] = [draftOf(root, 2, table)];
  const known = new Map<Leaf, number>();
  const stack: {
    readonly node: Directory;
    readonly index: number;
    readonly entries: DraftEntry[];
    readonly rest: Iterator<[ByteString, Node]>;
  }[] = [];
  function enter(node: Directory, index: number, parent: number): void {
    const entries: DraftEntry[] = [
      { name: DOT, inode: index },
      { name: DOT_DOT, inode: parent },
    ];
    stack.push({ node, index, entries, rest: sortedEntries(node).values() });
  }
  enter(root, 0, 0);
  for (let here = stack.at(-1); here !== undefined; here = stack.at(-1)) {
    const { done, value } = here.rest.next();
    if (done === true) {
      here.entries.sort(byName);
      drafts[here.index]!.data = { kind: "directory", entries: here.entries }; // entered with its draft
      stack.pop();
      continue;
    }
    const [name, child] = value;
    // Whatever a dump says: the first name is the home here, and names are counted.
    const seen = child.type === "directory" ? undefined : known.get(child);
    if (seen !== undefined) {
      drafts[seen]!.links++; // known indexes are in the list
      here.entries.push({ name, inode: seen });
      continue;
    }
    here.entries.push({ name, inode: drafts.length });
    if (child.type === "directory") {
      drafts[here.index]!.links++;
      enter(child, drafts.length, here.index);
    } else if (homes.has(child)) known.set(child, drafts.length);
    drafts.push(draftOf(child, child.type === "directory" ? 2 : 1, table));
  }
  return drafts;
}
