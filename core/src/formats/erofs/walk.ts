/** Every name of an image, with bounds that a hostile image cannot stretch; and the image as a tree. */
import type { ByteString } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { finish, flow, type Steps, waitFor } from "../../source/index.ts";
import {
  type Directory,
  joinPath,
  MAX_DEPTH,
  MAX_PATH_LENGTH,
  NO_XATTRS,
  type Node,
  showPath,
} from "../../tree/index.ts";
import { deviceNumbers, type ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";
import { type DirectoryEntry, directorySteps, isBelow } from "./read-directory.ts";
import { inodeSteps, linkSteps } from "./read-inode.ts";
import { metadataLimit } from "./volume.ts";

export interface ImageVisit {
  /** Path from the root without a leading slash; the root's is empty. */
  readonly path: ByteString;
  /** Last component of the path. */
  readonly name: ByteString;
  readonly inode: ErofsInode;
  /** Inode number of the directory that holds the name; undefined for the root. */
  readonly parent: number | undefined;
  /** Whether an earlier name led to the same inode. */
  readonly isKnown: boolean;
  /** Whether the directory has had the same name before, as no sound one has. */
  readonly isRepeated: boolean;
}

/**
 * Every name below the directory `from`, a directory before its entries, entries in the order of the image; paths begin
 * there. Metadata of a sound image does not overlap, so it never adds up to more bytes than the image has: that bounds time and memory.
 * Throws FormatError `directory-loop`, `too-deep` or `overlapping-metadata` and what {@link ErofsImage} throws.
 */
export function walkErofs(image: ErofsImage, from: ErofsInode = image.root): AsyncGenerator<ImageVisit> {
  return flow(walkSteps(image, from));
}

function* walkSteps(image: ErofsImage, from: ErofsInode): Steps<ImageVisit> {
  const { volume } = image;
  const known = new Set<number>(); // by number
  const limit = metadataLimit(image);
  let metadataSize = 0;
  function spend(inode: ErofsInode): void {
    metadataSize += inode.inodeSize + inode.xattrSize;
    if (inode.type === "directory" || inode.type === "symlink") metadataSize += inode.size;
    if (metadataSize > limit)
      throw new FormatError("overlapping-metadata", "inodes and directories add up to more bytes than the image has", {
        offset: inode.position,
        expected: limit,
      });
  }
  const none = "" as ByteString;
  known.add(from.nid);
  spend(from);
  yield { path: none, name: none, inode: from, parent: undefined, isKnown: false, isRepeated: false };
  // A stack of its own: generators within each other would use up the host's, and take a turn a level for every name.
  const open = [openDirectory(from.nid, none, yield* directorySteps(volume, from))];
  for (let here = open.at(-1); here !== undefined; here = open.at(-1)) {
    const entry = here.entries[here.next++];
    if (entry === undefined) {
      open.pop();
      continue;
    }
    if (!isBelow(entry)) continue;
    const { name, nid } = entry;
    const path = joinPath(here.path, name);
    if (path.length > MAX_PATH_LENGTH)
      throw new FormatError("too-deep", `a path has ${path.length} bytes, more than ${MAX_PATH_LENGTH}`);
    const isKnown = known.has(nid);
    const inode = yield* inodeSteps(volume, nid);
    if (!isKnown) {
      known.add(nid);
      spend(inode);
    } else if (inode.type === "directory")
      throw new FormatError("directory-loop", `${showPath(path)} leads to a directory that has another name`, {
        path: showPath(path),
        offset: inode.position,
      });
    yield { path, name, inode, parent: here.nid, isKnown, isRepeated: isRepeated(here, name) };
    if (inode.type !== "directory") continue;
    if (open.length >= MAX_DEPTH) throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}`);
    open.push(openDirectory(nid, path, yield* directorySteps(volume, inode)));
  }
}

interface OpenDirectory {
  readonly nid: number;
  readonly path: ByteString;
  readonly entries: readonly DirectoryEntry[];
  /** Index of the entry to come. */
  next: number;
  /** The name before, as long as they are in order. */
  last: ByteString;
  /** The names before, once they are out of order. */
  names: Set<ByteString> | undefined;
}

function openDirectory(nid: number, path: ByteString, entries: readonly DirectoryEntry[]): OpenDirectory {
  return { nid, path, entries, next: 0, last: "" as ByteString, names: undefined };
}

/** To be asked once a name, after it was taken. */
function isRepeated(here: OpenDirectory, name: ByteString): boolean {
  if (here.names === undefined) {
    if (name > here.last) {
      here.last = name;
      return false;
    }
    here.names = new Set(here.entries.slice(0, here.next - 1).map((entry) => entry.name));
  }
  if (here.names.has(name)) return true;
  here.names.add(name);
  return false;
}

/** What a name of an image leads to. */
export interface NodeVisit {
  readonly path: ByteString;
  readonly name: ByteString;
  /** Directories have no entries. */
  readonly node: Node;
  /** Inode number of the directory that holds the name; undefined for the root. */
  readonly parent: number | undefined;
  /** Inode number: the same for all names of a file. */
  readonly nid: number;
}

/**
 * {@link walkErofs} with nodes of the neutral tree, of which it keeps those with several names alone: what is kept is copied by
 * the collector, again and again. Throws FormatError `duplicate-name` too.
 */
export function* nodeSteps(image: ErofsImage, from: ErofsInode = image.root): Steps<NodeVisit> {
  const nodes = new Map<number, Node>();
  for (const step of walkSteps(image, from)) {
    if (step instanceof Promise) {
      yield step;
      continue;
    }
    const { path, name, inode, parent } = step;
    if (step.isRepeated)
      throw new FormatError("duplicate-name", `${showPath(path)} is there twice`, { path: showPath(path) });
    let node = nodes.get(inode.nid);
    if (node === undefined) {
      node = yield* readNode(image, inode);
      // An inode that says one name and has more is read twice, and no more than that.
      if (node.type !== "directory" && (inode.links > 1 || step.isKnown)) nodes.set(inode.nid, node);
    }
    yield { path, name, node, parent, nid: inode.nid };
  }
}

/**
 * The image, or what is below the directory `from` of it, as a tree; contents stay in the image and are read when asked. A
 * file with several names becomes one object.
 * Throws what {@link nodeSteps} throws.
 */
export function readTree(image: ErofsImage, from: ErofsInode = image.root): Promise<Directory> {
  return finish(treeSteps(image, from));
}

function* treeSteps(image: ErofsImage, from: ErofsInode): Steps<never, Directory> {
  const directories = new Map<number, Directory>();
  const others = new Map<number, Node>();
  let root: Directory | undefined;
  for (const step of nodeSteps(image, from)) {
    if (step instanceof Promise) {
      yield step;
      continue;
    }
    const { name, parent, nid } = step;
    const node = others.get(nid) ?? step.node;
    if (node.type === "directory") directories.set(nid, node);
    else others.set(nid, node);
    if (parent === undefined) {
      if (node.type === "directory") root = node;
      continue;
    }
    const directory = directories.get(parent);
    if (directory === undefined) throw new RangeError("an entry came before its directory");
    directory.entries.set(name, node);
  }
  if (root === undefined) throw new RangeError("the walk did not begin with the root");
  return root;
}

function* readNode(image: ErofsImage, inode: ErofsInode): Steps<never, Node> {
  const { type, mode, uid, gid, mtime } = inode;
  const xattrs = inode.xattrSize === 0 ? NO_XATTRS : yield* waitFor(image.xattrs(inode));
  switch (type) {
    case "directory":
      return { type, mode, uid, gid, mtime, xattrs, entries: new Map() };
    case "file":
      return { type, mode, uid, gid, mtime, xattrs, content: image.content(inode) };
    case "symlink":
      return { type, mode, uid, gid, mtime, xattrs, target: yield* linkSteps(image.volume, inode) };
    case "character":
    case "block":
      return { type, mode, uid, gid, mtime, xattrs, ...deviceNumbers(inode) };
    default:
      return { type, mode, uid, gid, mtime, xattrs };
  }
}
