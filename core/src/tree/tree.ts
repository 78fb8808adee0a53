/**
 * The neutral file tree: what tar, EROFS, composefs and dumps all speak. A tree is its root directory. A hard link
 * is the same file object under two names, so a name can go without its content. See README.md.
 */
import type { ByteString } from "../bytes/index.ts";
import type { Source } from "../source/index.ts";

export type Xattrs = ReadonlyMap<ByteString, Uint8Array>;

/** Shared by all that have none: a map of its own costs more memory than the rest of an inode. */
export const NO_XATTRS: Xattrs = /* @__PURE__ */ new Map();

/** What every inode has. Plain data; shared by the names of a hard link since the inode is. */
export interface Attributes {
  /** Permission, set-id and sticky bits: the low 12 bits of `st_mode`. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since 1970-01-01T00:00:00Z, signed. */
  mtime: bigint;
  /** Full name (`user.x`, `security.capability`) → value, both bytes. Order means nothing. Replaced, never changed. */
  xattrs: Xattrs;
}

export interface Directory extends Attributes {
  readonly type: "directory";
  /** Name → node. Names hold neither `/` nor NUL and are neither empty nor `.` nor `..`. Order means nothing. */
  readonly entries: Map<ByteString, Node>;
}

export interface RegularFile extends Attributes {
  readonly type: "file";
  /** Read lazily; its size is the file's. */
  content: Source;
}

export interface Symlink extends Attributes {
  readonly type: "symlink";
  /** Not empty, no NUL. */
  readonly target: ByteString;
}

export interface DeviceNode extends Attributes {
  readonly type: "character" | "block";
  readonly major: number;
  readonly minor: number;
}

export interface SpecialNode extends Attributes {
  readonly type: "fifo" | "socket";
}

export type Leaf = RegularFile | Symlink | DeviceNode | SpecialNode;
export type Node = Directory | Leaf;
export type NodeType = Node["type"];

/** File type bits of `st_mode` (Linux, `S_IFMT`). */
export const TYPE_BITS: Readonly<Record<NodeType, number>> = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

/** Attributes of something that has none of its own: root's, and as old as time itself. */
export function attributes(mode: number, values: Partial<Attributes> = {}): Attributes {
  return { mode, uid: 0, gid: 0, mtime: 0n, xattrs: NO_XATTRS, ...values };
}

// Properties are written out, since a spread makes objects of another shape, slower and larger: there are millions.

export function directory(
  { mode, uid, gid, mtime, xattrs }: Attributes,
  entries: Iterable<readonly [ByteString, Node]> = [],
): Directory {
  return { type: "directory", mode, uid, gid, mtime, xattrs, entries: new Map(entries) };
}

export function regularFile({ mode, uid, gid, mtime, xattrs }: Attributes, content: Source): RegularFile {
  return { type: "file", mode, uid, gid, mtime, xattrs, content };
}

export function symlink({ mode, uid, gid, mtime, xattrs }: Attributes, target: ByteString): Symlink {
  return { type: "symlink", mode, uid, gid, mtime, xattrs, target };
}

export function deviceNode(
  type: DeviceNode["type"],
  { mode, uid, gid, mtime, xattrs }: Attributes,
  major: number,
  minor: number,
): DeviceNode {
  return { type, mode, uid, gid, mtime, xattrs, major, minor };
}

export function specialNode(type: SpecialNode["type"], { mode, uid, gid, mtime, xattrs }: Attributes): SpecialNode {
  return { type, mode, uid, gid, mtime, xattrs };
}
