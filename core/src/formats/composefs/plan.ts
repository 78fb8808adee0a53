/** Third step of writing: every inode's form and place. Pure. */
import { alignUp, type ByteString } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";
import type { Directory } from "../../tree/index.ts";
import {
  INODE_SLOT_SIZE,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  SUPERBLOCK_OFFSET,
} from "../erofs/format.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  BLOCK_SIZE,
  type FormatVersion,
  MAX_INLINE_SIZE,
  MAX_INLINE_SIZE_2,
} from "./format.ts";
import { type Inode, type InodeEntry, listBreadthFirst, listDepthFirst } from "./inodes.ts";
import { chunking, type Homes, surveyTree } from "./survey.ts";
import { shareXattrs, type XattrEntry, xattrBodySize, xattrTable } from "./xattrs.ts";

export interface ImagePlan {
  readonly version: FormatVersion;
  readonly inodes: readonly Inode[];
  readonly shared: readonly XattrEntry[];
  /** Bytes from the start of the image to the shared xattrs. */
  readonly sharedStart: number;
  /** Least mtime of all inodes, nanoseconds since 1970. */
  readonly minTime: bigint;
  readonly hasAcl: boolean;
  /** Bytes of the image. */
  readonly size: number;
}

export interface PlanOptions {
  /**
   * A single version, or the least and the greatest: 0 becomes 1 where the tree has whiteouts and the greatest allows it,
   * which is the rule of `mkcomposefs`.
   */
  readonly version: FormatVersion | { readonly min: 0 | 1; readonly max: 0 | 1 };
  /** Of all digests, the image's own too: the kernel checks a store with one algorithm only. */
  readonly algorithm: HashAlgorithm;
  /** From a dump. */
  readonly homes?: Homes | undefined;
}

/** A tail of a directory or of content larger than this gets a block of its own. */
const MAX_TAIL = BLOCK_SIZE / 2;
/** Where the inodes begin. */
const INODES_START = SUPERBLOCK_OFFSET + RawSuperblock.size;
const MAX_BLOCKS = 0xfffffffe;

/**
 * Plans the image of a tree whose contents are stored (see content.ts). Throws what {@link surveyTree} throws,
 * UnsupportedError `xattr-total` or `image-too-large`.
 */
export function planComposefs(root: Directory, { version: wanted, algorithm, homes }: PlanOptions): ImagePlan {
  const maxInline = wanted === 2 ? MAX_INLINE_SIZE_2 : MAX_INLINE_SIZE;
  const survey = surveyTree(root, homes, { maxInline, algorithm });
  const version =
    typeof wanted === "number" ? wanted : wanted.min === 0 && survey.hasWhiteouts ? wanted.max : wanted.min;
  const table = xattrTable(version);
  const inodes = version === 2 ? listDepthFirst(root, survey, table) : listBreadthFirst(root, survey, version, table);
  let minTime = root.mtime;
  for (const { mtime } of inodes) if (mtime < minTime) minTime = mtime;

  const { shared, size: sharedSize } = shareXattrs(table, inodes, version);
  const place = version === 2 ? placeExtended : placeSmallest;
  let at = INODES_START;
  for (const inode of inodes) {
    if (inode.xattrs.length > 0) inode.xattrSize = xattrBodySize(inode.xattrs, version);
    place(inode, alignUp(at, INODE_SLOT_SIZE), minTime);
    at = tailAt(inode) + inode.tailSize;
  }
  const sharedStart = alignUp(at, INODE_SLOT_SIZE);
  let block = alignUp(sharedStart + sharedSize, BLOCK_SIZE) / BLOCK_SIZE;
  for (const inode of inodes) {
    if (inode.blocks === 0) continue;
    inode.startBlock = block;
    block += inode.blocks;
  }
  if (block > MAX_BLOCKS)
    throw new UnsupportedError("image-too-large", `the image would have ${block} blocks`, { expected: MAX_BLOCKS });
  const hasAcl = [...table.entries()].some(({ name, uses }) => uses > 0 && isAcl(name.text));
  return { version, inodes, shared, sharedStart, minTime, hasAcl, size: block * BLOCK_SIZE };
}

const isAcl = (name: ByteString): boolean => name === ACL_ACCESS || name === ACL_DEFAULT;

/** Where what stands behind an inode and its xattrs begins. */
export function tailAt({ position, isExtended, xattrSize }: Inode): number {
  return position + (isExtended ? RawInodeExtended : RawInodeCompact).size + xattrSize;
}

/** How a directory's entries fall into blocks; blocks are full as far as the next entry allows. */
function splitDirectory(entries: readonly InodeEntry[]): { readonly starts: number[]; readonly last: number } {
  const starts = [0];
  let used = 0;
  for (let i = 0; i < entries.length; i++) {
    const size = RawDirent.size + entries[i]!.name.length; // below the length
    if (used + size > BLOCK_SIZE) {
      starts.push(i);
      used = 0;
    }
    used += size;
  }
  return { starts, last: used };
}

/** Fixes the sizes of an inode's data and tail, before it is known whether the tail fits where the inode stands. */
function shape(inode: Inode, limitsTail: boolean): void {
  const { data } = inode;
  switch (data.kind) {
    case "directory": {
      const { starts, last } = splitDirectory(data.entries);
      const isInline = last <= MAX_TAIL;
      data.blockStarts = starts;
      inode.blocks = starts.length - (isInline ? 1 : 0);
      inode.tailSize = isInline ? last : 0;
      inode.size = inode.blocks * BLOCK_SIZE + inode.tailSize;
      return;
    }
    case "bytes":
      inode.size = data.bytes.length;
      inode.tailSize = inode.size;
      if (inode.type === "symlink" || !limitsTail) return;
      inode.tailSize = inode.size % BLOCK_SIZE;
      inode.blocks = Math.floor(inode.size / BLOCK_SIZE);
      if (inode.tailSize > MAX_TAIL) tailToBlock(inode);
      return;
    case "chunks":
      inode.size = data.size;
      inode.tailSize = 4 * (limitsTail ? chunking(data.size).count : 1);
  }
}

/** Gives the tail a block of its own. */
function tailToBlock(inode: Inode): void {
  inode.blocks++;
  inode.tailSize = 0;
  // A directory's size counts what its blocks hold, and they are whole.
  if (inode.data.kind === "directory") inode.size = inode.blocks * BLOCK_SIZE;
}

/** @param at the first free slot */
type Placer = (inode: Inode, at: number, minTime: bigint) => void;

/** Versions 0 and 1: compact inodes for what is as old as the oldest. */
const placeSmallest: Placer = (inode, at, minTime) => {
  shape(inode, true);
  inode.isExtended =
    inode.mtime !== minTime ||
    inode.links > 0xffff ||
    inode.uid > 0xffff ||
    inode.gid > 0xffff ||
    inode.size > 0xffffffff;
  const headSize = (inode.isExtended ? RawInodeExtended : RawInodeCompact).size + inode.xattrSize;
  inode.position = inode.type === "symlink" ? placeLink(inode, at, headSize) : placeTail(inode, at, headSize);
};

/** A link stands in one block with its inode. One that fills a block goes to a block of its own, and is moved as if it did not. */
function placeLink(link: Inode, at: number, headSize: number): number {
  const total = headSize + link.tailSize;
  if (total >= BLOCK_SIZE) tailToBlock(link);
  return Math.floor(at / BLOCK_SIZE) === Math.floor((at + total - 1) / BLOCK_SIZE) ? at : alignUp(at, BLOCK_SIZE);
}

/** The tail must not cross a block boundary: moved behind it, or where it does not fit there either, into a block of its own. */
function placeTail(inode: Inode, at: number, headSize: number): number {
  const room = BLOCK_SIZE - ((at + headSize) % BLOCK_SIZE);
  if (room >= inode.tailSize) return at;
  const moved = at + alignUp(room, INODE_SLOT_SIZE);
  if (BLOCK_SIZE - ((moved + headSize) % BLOCK_SIZE) >= inode.tailSize) return moved;
  tailToBlock(inode);
  return alignUp(at, BLOCK_SIZE);
}

/** Version 2: extended inodes only, content never in blocks, and a padding rule of its own. */
const placeExtended: Placer = (inode, at) => {
  shape(inode, false);
  inode.position = at;
  if (inode.tailSize === 0 || inode.data.kind === "chunks") return;
  // The last byte of the head and the byte behind the tail: a tail that ends a block exactly is moved too.
  const head = tailAt(inode);
  const last = head - 1;
  const end = head + (inode.size % BLOCK_SIZE);
  if (Math.floor(last / BLOCK_SIZE) !== Math.floor(end / BLOCK_SIZE))
    inode.position = alignUp(at + BLOCK_SIZE - (last % BLOCK_SIZE), INODE_SLOT_SIZE);
};
