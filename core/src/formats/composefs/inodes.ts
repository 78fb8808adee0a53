/**
 * Second step of writing: the inodes in the order of the image, each as overlayfs is to see it. Versions 0 and 1 go
 * breadth first and follow `mkcomposefs`; version 2 goes depth first and follows composefs-rs. Both are reproduced with
 * their oddities, since digests depend on them; each oddity says so.
 */
import { type ByteString, byteString } from "../../bytes/index.ts";
import {
  type Attributes,
  type Directory,
  type Leaf,
  type Node,
  type NodeType,
  sortedEntries,
} from "../../tree/index.ts";
import { ExternalContent, storedContent } from "./content.ts";
import { type FormatVersion, SELINUX } from "./format.ts";
import {
  NO_XATTR_ENTRIES,
  opaqueMark,
  sorted,
  whiteoutMark,
  whiteoutMarks,
  withEntries,
  xattrsOf,
} from "./overlay-xattrs.ts";
import { type Homes, isWhiteout, type Survey } from "./survey.ts";
import type { XattrEntry, XattrTable } from "./xattrs.ts";

/** What stands in the data of an inode. */
export type InodeData =
  | { readonly kind: "none" }
  | {
      readonly kind: "directory";
      readonly entries: readonly InodeEntry[];
      /** For each block, the last one inline or not, the index of its first entry; plan.ts knows. */
      blockStarts: readonly number[];
    }
  /** Content of a file or target of a link. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array | ByteString }
  /** Content that is elsewhere. */
  | { readonly kind: "chunks"; readonly size: number }
  | { readonly kind: "device"; readonly major: number; readonly minor: number };

export interface InodeEntry {
  readonly name: ByteString;
  /** Index of the inode; of a leaf whose home comes later it is filled in at the end. */
  inode: number;
}

/**
 * An inode, first without its place: plan.ts fills in the rest. One object for both, since there are as many as the tree
 * has files.
 */
export interface Inode {
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
  isExtended: boolean;
  /** Bytes from the start of the image. */
  position: number;
  /** Bytes of the xattrs, which end where the tail begins. */
  xattrSize: number;
  /** `i_size`, bytes. */
  size: number;
  /** Bytes that stand behind the inode and its xattrs. */
  tailSize: number;
  /** Blocks of data at the end of the image, and the first of them. */
  blocks: number;
  startBlock: number;
}

const NO_STARTS: readonly number[] = [];
const NONE: InodeData = { kind: "none" };
const NULL_DEVICE: InodeData = { kind: "device", major: 0, minor: 0 };
const DOT = "." as ByteString;
const DOT_DOT = ".." as ByteString;
/** Names of the objects' directories (`00` to `ff`) that the image must hide from the merged root. */
const STUBS = /* @__PURE__ */ Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0") as ByteString);

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** Most lists are in order as they come. */
function sortByName(list: { readonly name: string }[]): void {
  for (let i = 1; i < list.length; i++)
    // below the length
    if (list[i - 1]!.name > list[i]!.name) {
      list.sort(byName);
      return;
    }
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

function inodeOf(node: Node, links: number, table: XattrTable): Inode {
  return makeInode(node.type, node, links, xattrsOf(node, table), dataOf(node));
}

function makeInode(
  type: NodeType,
  { mode, uid, gid, mtime }: Attributes,
  links: number,
  xattrs: readonly XattrEntry[],
  data: InodeData,
): Inode {
  const place = 0; // as yet
  return {
    type,
    mode,
    uid,
    gid,
    mtime,
    links,
    xattrs,
    data,
    isExtended: true,
    position: place,
    xattrSize: 0,
    size: 0,
    tailSize: 0,
    blocks: 0,
    startBlock: 0,
  };
}

function linksOf(node: Node, homes: Homes): number {
  return node.type === "directory" ? 2 : (homes.get(node)?.links ?? 1);
}

/** Entries that point to leaves whose inode had no index yet. */
type Open = { readonly entry: InodeEntry; readonly leaf: Leaf }[];

function resolveOpen(open: Open, known: ReadonlyMap<Leaf, number>): void {
  for (const { entry, leaf } of open) entry.inode = known.get(leaf)!; // every leaf has a home that was visited
}

/** A directory's inodes are in order before those of its subdirectories' entries (`lcfs_compute_tree`). */
export function listBreadthFirst(
  root: Directory,
  { homes }: Survey,
  version: FormatVersion,
  table: XattrTable,
): Inode[] {
  const rootInode = inodeOf(root, 2, table);
  const inodes: Inode[] = [rootInode];
  const queue: { readonly node: Directory; readonly index: number; readonly parent: number }[] = [
    { node: root, index: 0, parent: 0 },
  ];
  const known = new Map<Leaf, number>();
  const open: Open = [];
  // `queue` grows while it is gone through.
  for (const { node, index, parent } of queue) {
    const inode = inodes[index]!; // queued with it
    const entries: InodeEntry[] = [
      { name: DOT, inode: index },
      { name: DOT_DOT, inode: parent },
    ];
    let hasWhiteout = false;
    for (const [name, child] of index === 0 ? withStubs(node) : sortedEntries(node)) {
      const entry: InodeEntry = { name, inode: inodes.length };
      entries.push(entry);
      if (child === undefined) inodes.push(stubOf(root, table));
      else if (child.type === "directory") {
        inode.links++;
        queue.push({ node: child, index: inodes.length, parent: index });
        inodes.push(inodeOf(child, 2, table));
      } else {
        const home = homes.get(child);
        if (home !== undefined && (home.parent !== node || home.name !== name)) {
          open.push({ entry, leaf: child });
          continue;
        }
        if (home !== undefined) known.set(child, inodes.length);
        const escaped = isWhiteout(child);
        hasWhiteout ||= escaped;
        inodes.push(escaped ? escapedWhiteout(child, table) : inodeOf(child, linksOf(child, homes), table));
      }
    }
    sortByName(entries);
    inode.data = { kind: "directory", entries, blockStarts: NO_STARTS };
    if (hasWhiteout) inode.xattrs = withEntries(inode.xattrs, whiteoutMarks(version, table));
  }
  resolveOpen(open, known);
  rootInode.xattrs = withEntries(rootInode.xattrs, opaqueMark(table));
  for (const inode of inodes) inode.xattrs = sorted(inode.xattrs);
  return inodes;
}

/** The entries of the root, and a name without a node for each directory of objects that is to be hidden. */
function withStubs({ entries }: Directory): [ByteString, Node | undefined][] {
  const all: [ByteString, Node | undefined][] = [...entries];
  for (const name of STUBS) if (!entries.has(name)) all.push([name, undefined]);
  return all.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** Added after everything else, so it is not escaped like a whiteout of the tree. */
function stubOf({ uid, gid, mtime, xattrs }: Directory, table: XattrTable): Inode {
  const label = xattrs.get(SELINUX);
  const own = label === undefined ? NO_XATTR_ENTRIES : [table.entry(SELINUX, byteString(label))];
  return makeInode("character", { mode: 0o644, uid, gid, mtime, xattrs }, 1, own, NULL_DEVICE);
}

/** A whiteout of the tree is content: an empty file with marks from which the inner overlayfs knows it. */
function escapedWhiteout(node: Node, table: XattrTable): Inode {
  const inode = inodeOf(node, 1, table);
  return { ...inode, type: "file", xattrs: withEntries(inode.xattrs, whiteoutMark(table)), data: NONE };
}

/** A directory, then its entries, each with all below it; no stubs, no escaped whiteouts, no opaque root. */
export function listDepthFirst(root: Directory, { homes }: Survey, table: XattrTable): Inode[] {
  const inodes: Inode[] = [inodeOf(root, 2, table)];
  const known = new Map<Leaf, number>();
  const stack: {
    readonly node: Directory;
    readonly index: number;
    readonly entries: InodeEntry[];
    readonly rest: Iterator<[ByteString, Node]>;
  }[] = [];
  function enter(node: Directory, index: number, parent: number): void {
    const entries: InodeEntry[] = [
      { name: DOT, inode: index },
      { name: DOT_DOT, inode: parent },
    ];
    stack.push({ node, index, entries, rest: sortedEntries(node).values() });
  }
  enter(root, 0, 0);
  for (let here = stack.at(-1); here !== undefined; here = stack.at(-1)) {
    const { done, value } = here.rest.next();
    if (done === true) {
      sortByName(here.entries);
      inodes[here.index]!.data = { kind: "directory", entries: here.entries, blockStarts: NO_STARTS }; // entered with it
      stack.pop();
      continue;
    }
    const [name, child] = value;
    // Whatever a dump says: the first name is the home here, and names are counted.
    const seen = child.type === "directory" ? undefined : known.get(child);
    if (seen !== undefined) {
      inodes[seen]!.links++; // known indexes are in the list
      here.entries.push({ name, inode: seen });
      continue;
    }
    here.entries.push({ name, inode: inodes.length });
    if (child.type === "directory") {
      inodes[here.index]!.links++;
      enter(child, inodes.length, here.index);
    } else if (homes.has(child)) known.set(child, inodes.length);
    inodes.push(inodeOf(child, child.type === "directory" ? 2 : 1, table));
  }
  return inodes;
}
