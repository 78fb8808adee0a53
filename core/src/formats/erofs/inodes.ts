/** First step of writing: the tree as a list of inodes in canonical order, checked against what EROFS can hold. */
import type { ByteString } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type Directory, directoryLinks, type Node, showPath, walkTree } from "../../tree/index.ts";
import { MAX_NAME_SIZE, MAX_SYMLINK_SIZE, RawInodeCompact, RawInodeExtended } from "./format.ts";
import { planXattrs, type XattrBody, type XattrPlan } from "./xattrs.ts";

export interface PlannedInode {
  readonly node: Node;
  /** First name in canonical order. */
  readonly path: ByteString;
  /** Index of the directory that holds the first name; the root's is its own. */
  readonly parent: number;
  /** `st_nlink`. */
  links: number;
  isExtended: boolean;
  xattrs: XattrBody | undefined;
  /** Bytes of the inode and its xattrs; inline data follows. */
  headSize: number;
}

/** A moment as EROFS stores it. */
export interface Timestamp {
  /** Signed, since 1970. */
  readonly seconds: bigint;
  readonly nanoseconds: number;
}

/** Everything about the metadata that does not depend on where data lies. */
export interface InodeTable {
  /** In canonical order of first names; the root is the first. */
  readonly inodes: readonly PlannedInode[];
  readonly indexOf: ReadonlyMap<Node, number>;
  /** mtime of all compact inodes. */
  readonly epoch: Timestamp;
  readonly xattrs: XattrPlan;
  /** Bytes of content of all regular files, each once. */
  readonly contentSize: number;
}

const NANOSECONDS = 1_000_000_000n;

export function splitTime(time: bigint): Timestamp {
  const nanoseconds = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: (time - nanoseconds) / NANOSECONDS, nanoseconds: Number(nanoseconds) };
}

/**
 * Lists and checks. Throws FormatError `bad-name`, `bad-link`, `directory-linked` or `too-deep` for what no tree may
 * have, UnsupportedError `name-too-long`, `link-too-long`, `owner`, `device`, `time` or `xattr-…` for what EROFS has no place for.
 */
export function listInodes(root: Directory): InodeTable {
  const inodes: PlannedInode[] = [];
  const indexOf = new Map<Node, number>();
  let contentSize = 0;
  for (const { path, node, parent } of walkTree(root)) {
    const parentIndex = parent === undefined ? 0 : indexOf.get(parent)!; // a directory is listed before its entries
    if (parent !== undefined) {
      const { length } = inodes[parentIndex]!.path;
      checkName(path.slice(length === 0 ? 0 : length + 1), path);
    }
    const known = indexOf.get(node);
    if (known !== undefined) {
      if (node.type === "directory")
        throw new FormatError("directory-linked", `${showPath(path)} is a second name of a directory`, {
          path: showPath(path),
        });
      inodes[known]!.links++; // known indexes are in the list
      continue;
    }
    checkNode(node, path);
    indexOf.set(node, inodes.length);
    inodes.push({
      node,
      path,
      parent: parentIndex,
      links: node.type === "directory" ? directoryLinks(node) : 1,
      isExtended: false,
      xattrs: undefined,
      headSize: 0,
    });
    if (node.type === "file") contentSize += node.content.size;
  }
  const xattrs = planXattrs(inodes.map(({ node, path }) => ({ xattrs: node.xattrs, path: () => showPath(path) })));
  const epoch = mostCommonTime(inodes);
  for (const [i, inode] of inodes.entries()) {
    inode.xattrs = xattrs.bodies[i];
    inode.isExtended = inode.node.mtime !== epoch || !fitsCompact(inode);
    inode.headSize = (inode.isExtended ? RawInodeExtended : RawInodeCompact).size + (inode.xattrs?.size ?? 0);
  }
  return { inodes, indexOf, epoch: splitTime(epoch), xattrs, contentSize };
}

/** Whether everything but the time fits 32 bytes. */
function fitsCompact({ node, links }: PlannedInode): boolean {
  const size = node.type === "file" ? node.content.size : 0; // no directory is near 4 GiB: see planMetadata
  return node.uid <= 0xffff && node.gid <= 0xffff && links <= 0xffff && size <= 0xffffffff;
}

/** The time that makes most inodes compact; the smallest of several. */
function mostCommonTime(inodes: readonly PlannedInode[]): bigint {
  const counts = new Map<bigint, number>();
  for (const inode of inodes)
    if (fitsCompact(inode)) counts.set(inode.node.mtime, (counts.get(inode.node.mtime) ?? 0) + 1);
  let best = 0n;
  let most = 0;
  for (const [time, count] of counts)
    if (count > most || (count === most && time < best)) {
      best = time;
      most = count;
    }
  return best;
}

export function checkName(name: string, path: ByteString): void {
  if (name === "" || name === "." || name === ".." || name.includes("\0") || name.includes("/"))
    throw new FormatError("bad-name", `${showPath(path)}: not a file name`, { path: showPath(path) });
  if (name.length > MAX_NAME_SIZE)
    throw new UnsupportedError("name-too-long", `${showPath(path)}: the name has ${name.length} bytes`, {
      path: showPath(path),
      expected: MAX_NAME_SIZE,
      actual: name.length,
    });
}

const isUint32 = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0xffffffff;

/** Nanoseconds since 1970 whose seconds fit 64 bits. */
const MIN_TIME = -(2n ** 63n) * NANOSECONDS;
const MAX_TIME = 2n ** 63n * NANOSECONDS - 1n;

/** Called for every node, so nothing is made unless it is refused. */
export function checkNode(node: Node, path: ByteString): void {
  if (!isUint32(node.uid) || !isUint32(node.gid))
    throw new UnsupportedError("owner", `${showPath(path)}: owner ${node.uid}:${node.gid} does not fit 32 bits`, {
      path: showPath(path),
    });
  if (!Number.isInteger(node.mode) || node.mode < 0 || node.mode > 0o7777)
    throw new RangeError(`${showPath(path)}: mode ${node.mode} has more than permission bits`);
  if (node.mtime < MIN_TIME || node.mtime > MAX_TIME)
    throw new UnsupportedError("time", `${showPath(path)}: time ${node.mtime} ns does not fit 64 bits of seconds`, {
      path: showPath(path),
    });
  if (node.type === "symlink") {
    if (node.target === "" || node.target.includes("\0"))
      throw new FormatError(
        "bad-link",
        `${showPath(path)}: the link's target is ${node.target === "" ? "empty" : "cut by a NUL"}`,
        { path: showPath(path) },
      );
    if (node.target.length > MAX_SYMLINK_SIZE)
      throw new UnsupportedError(
        "link-too-long",
        `${showPath(path)}: the link's target has ${node.target.length} bytes`,
        { path: showPath(path), expected: MAX_SYMLINK_SIZE, actual: node.target.length },
      );
  }
  if (node.type === "character" || node.type === "block")
    if (!isUint32(node.major) || !isUint32(node.minor) || node.major >= 2 ** 12 || node.minor >= 2 ** 20)
      throw new UnsupportedError(
        "device",
        `${showPath(path)}: device ${node.major}:${node.minor} does not fit 12:20 bits`,
        { path: showPath(path) },
      );
}
