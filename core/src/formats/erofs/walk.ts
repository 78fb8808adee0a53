/** Every name of an image, with bounds that a hostile image cannot stretch; and the image as a tree. */
import type { ByteString } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Directory, joinPath, MAX_DEPTH, MAX_PATH_LENGTH, type Node, showPath } from "../../tree/index.ts";
import { deviceNumbers, type ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";
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
}

/**
 * Every name below the directory `from`, a directory before its entries, entries in the order of the image; paths begin
 * there. Metadata of a sound image does not overlap, so it never adds up to more bytes than the image has: that bounds time and memory.
 * Throws FormatError `directory-loop`, `too-deep` or `overlapping-metadata` and what {@link ErofsImage} throws.
 */
export async function* walkErofs(image: ErofsImage, from: ErofsInode = image.root): AsyncGenerator<ImageVisit> {
  const inodes = new Map<number, ErofsInode>();
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
  inodes.set(from.nid, from);
  spend(from);
  yield { path: none, name: none, inode: from, parent: undefined, isKnown: false };
  // A stack of its own: generators within each other would use up the host's, and take a turn a level for every name.
  const open = [{ nid: from.nid, path: none, rest: (await image.readDirectory(from)).values() }];
  for (let here = open.at(-1); here !== undefined; here = open.at(-1)) {
    const { done, value: entry } = here.rest.next();
    if (done === true) {
      open.pop();
      continue;
    }
    const { name, nid } = entry;
    const path = joinPath(here.path, name);
    if (path.length > MAX_PATH_LENGTH)
      throw new FormatError("too-deep", `a path has ${path.length} bytes, more than ${MAX_PATH_LENGTH}`);
    const known = inodes.get(nid);
    const inode = known ?? (await image.inode(nid));
    if (known === undefined) {
      inodes.set(nid, inode);
      spend(inode);
    } else if (inode.type === "directory")
      throw new FormatError("directory-loop", `${showPath(path)} leads to a directory that has another name`, {
        path: showPath(path),
        offset: inode.position,
      });
    yield { path, name, inode, parent: here.nid, isKnown: known !== undefined };
    if (inode.type !== "directory") continue;
    if (open.length >= MAX_DEPTH) throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}`);
    open.push({ nid, path, rest: (await image.readDirectory(inode)).values() });
  }
}

/**
 * The image, or what is below the directory `from` of it, as a tree; contents stay in the image and are read when asked. A
 * file with several names becomes one object.
 * Throws what {@link walkErofs} throws, FormatError `duplicate-name`.
 */
export async function readTree(image: ErofsImage, from: ErofsInode = image.root): Promise<Directory> {
  const nodes = new Map<number, Node>();
  let root: Directory | undefined;
  for await (const { path, name, inode, parent } of walkErofs(image, from)) {
    let node = nodes.get(inode.nid);
    if (node === undefined) {
      node = await readNode(image, inode);
      nodes.set(inode.nid, node);
    }
    if (parent === undefined) {
      if (node.type === "directory") root = node;
      continue;
    }
    const directory = nodes.get(parent);
    if (directory?.type !== "directory") throw new RangeError("an entry came before its directory");
    if (directory.entries.has(name))
      throw new FormatError("duplicate-name", `${showPath(path)} is there twice`, { path: showPath(path) });
    directory.entries.set(name, node);
  }
  if (root === undefined) throw new RangeError("the walk did not begin with the root");
  return root;
}

async function readNode(image: ErofsImage, inode: ErofsInode): Promise<Node> {
  const { type, mode, uid, gid, mtime } = inode;
  const attributes = { mode, uid, gid, mtime, xattrs: await image.xattrs(inode) };
  switch (type) {
    case "directory":
      return { type, ...attributes, entries: new Map() };
    case "file":
      return { type, ...attributes, content: image.content(inode) };
    case "symlink":
      return { type, ...attributes, target: await image.readlink(inode) };
    case "character":
    case "block":
      return { type, ...attributes, ...deviceNumbers(inode) };
    default:
      return { type, ...attributes };
  }
}
