/** Third step of writing: every inode's form and place. Pure. */
import { alignUp } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { Directory } from "../../tree/index.ts";
import {
  INODE_SLOT_SIZE,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  SUPERBLOCK_OFFSET,
} from "../erofs/format.ts";
import { BLOCK_SIZE, type FormatVersion, MAX_INLINE_SIZE, MAX_INLINE_SIZE_2 } from "./format.ts";
import { type Draft, type DraftEntry, listBreadthFirst, listDepthFirst } from "./inodes.ts";
import { chunking, type Homes, surveyTree } from "./survey.ts";
import { planXattrBody, shareXattrs, type XattrBody, type XattrEntry, xattrTable } from "./xattrs.ts";

export interface PlannedInode {
  readonly draft: Draft;
  readonly isExtended: boolean;
  /** Undefined where there are no xattrs. */
  readonly xattrs: XattrBody | undefined;
  /** `i_size`, bytes. */
  readonly size: number;
  /** Bytes from the start of the image. */
  readonly position: number;
  /** Bytes of the inode and its xattrs. */
  readonly headSize: number;
  /** Bytes that stand behind them. */
  readonly tailSize: number;
  /** Blocks of data at the end of the image, and the first of them. */
  readonly blocks: number;
  startBlock: number;
  /** For each block of a directory, the last one inline or not, the index of its first entry. */
  readonly blockStarts: readonly number[];
}

export interface ImagePlan {
  readonly version: FormatVersion;
  readonly inodes: readonly PlannedInode[];
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
  /** From a dump. */
  readonly homes?: Homes | undefined;
}

/** A tail of a directory or of content larger than this gets a block of its own. */
const MAX_TAIL = BLOCK_SIZE / 2;
/** Where the inodes begin. */
const INODES_START = SUPERBLOCK_OFFSET + RawSuperblock.size;
const MAX_BLOCKS = 0xfffffffe;
/** `h_shared_count` has 8 bits. */
const MAX_SHARED_COUNT = 0xff;

/**
 * Plans the image of a tree whose contents are stored (see content.ts). Throws what {@link surveyTree} throws,
 * UnsupportedError `xattr-total` or `image-too-large`.
 */
export function planComposefs(root: Directory, { version: wanted, homes }: PlanOptions): ImagePlan {
  const survey = surveyTree(root, homes, wanted === 2 ? MAX_INLINE_SIZE_2 : MAX_INLINE_SIZE);
  const version =
    typeof wanted === "number" ? wanted : wanted.min === 0 && survey.hasWhiteouts ? wanted.max : wanted.min;
  const table = xattrTable(version);
  const drafts = version === 2 ? listDepthFirst(root, survey, table) : listBreadthFirst(root, survey, version, table);
  let minTime = root.mtime;
  for (const { mtime } of drafts) if (mtime < minTime) minTime = mtime;

  const { shared, size: sharedSize } = shareXattrs(table, drafts, version);
  const inodes: PlannedInode[] = [];
  let at = INODES_START;
  for (const draft of drafts) {
    const xattrs = draft.xattrs.length === 0 ? undefined : planXattrBody(draft.xattrs, version);
    if (xattrs !== undefined && xattrs.shared.length > MAX_SHARED_COUNT)
      throw new UnsupportedError("xattr-total", `an inode has ${xattrs.shared.length} shared xattrs`, {
        expected: MAX_SHARED_COUNT,
        actual: xattrs.shared.length,
      });
    const place = version === 2 ? placeExtended : placeSmallest;
    const planned = place(draft, xattrs, alignUp(at, INODE_SLOT_SIZE), minTime);
    inodes.push(planned);
    at = planned.position + planned.headSize + planned.tailSize;
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
  const hasAcl = shared.some(isAcl) || inodes.some(({ xattrs }) => xattrs?.inline.some(isAcl));
  return { version, inodes, shared, sharedStart, minTime, hasAcl, size: block * BLOCK_SIZE };
}

const isAcl = ({ name }: XattrEntry): boolean =>
  name === "system.posix_acl_access" || name === "system.posix_acl_default";

/** How a directory's entries fall into blocks; blocks are full as far as the next entry allows. */
function splitDirectory(entries: readonly DraftEntry[]): { readonly starts: number[]; readonly last: number } {
  const starts = [0];
  let used = 0;
  for (const [i, { name }] of entries.entries()) {
    const size = RawDirent.size + name.length;
    if (used + size > BLOCK_SIZE) {
      starts.push(i);
      used = 0;
    }
    used += size;
  }
  return { starts, last: used };
}

interface Shape {
  blocks: number;
  tailSize: number;
  readonly starts: readonly number[];
  /** `i_size` of what is no directory. */
  readonly size: number;
}

function shapeOf({ data, type }: Draft, limitsTail: boolean): Shape {
  switch (data.kind) {
    case "directory": {
      const { starts, last } = splitDirectory(data.entries);
      const isInline = last <= MAX_TAIL;
      return { blocks: starts.length - (isInline ? 1 : 0), tailSize: isInline ? last : 0, starts, size: 0 };
    }
    case "bytes": {
      const size = data.bytes.length;
      if (type === "symlink" || !limitsTail) return { blocks: 0, tailSize: size, starts: NO_STARTS, size };
      const tail = size % BLOCK_SIZE;
      const whole = Math.floor(size / BLOCK_SIZE);
      return tail > MAX_TAIL
        ? { blocks: whole + 1, tailSize: 0, starts: NO_STARTS, size }
        : { blocks: whole, tailSize: tail, starts: NO_STARTS, size };
    }
    case "chunks":
      return {
        blocks: 0,
        tailSize: 4 * (limitsTail ? chunking(data.size).count : 1),
        starts: NO_STARTS,
        size: data.size,
      };
    default:
      return { blocks: 0, tailSize: 0, starts: NO_STARTS, size: 0 };
  }
}

const NO_STARTS: readonly number[] = [];
const directorySize = (shape: Shape): number => shape.blocks * BLOCK_SIZE + shape.tailSize;

type Placer = (draft: Draft, xattrs: XattrBody | undefined, at: number, minTime: bigint) => PlannedInode;

/** Versions 0 and 1: compact inodes for what is as old as the oldest; `at` is the first free slot. */
const placeSmallest: Placer = (draft, xattrs, at, minTime) => {
  const shape = shapeOf(draft, true);
  const isDirectory = draft.data.kind === "directory";
  const isExtended =
    draft.mtime !== minTime ||
    draft.links > 0xffff ||
    draft.uid > 0xffff ||
    draft.gid > 0xffff ||
    (isDirectory ? directorySize(shape) : shape.size) > 0xffffffff;
  const headSize = (isExtended ? RawInodeExtended : RawInodeCompact).size + (xattrs?.size ?? 0);
  const position = draft.type === "symlink" ? placeLink(shape, at, headSize) : placeTail(shape, at, headSize);
  const size = isDirectory ? directorySize(shape) : shape.size;
  const { blocks, tailSize, starts } = shape;
  return { draft, isExtended, xattrs, size, position, headSize, tailSize, blocks, startBlock: 0, blockStarts: starts };
};

/** A link stands in one block with its inode. One that fills a block goes to a block of its own, and is moved as if it did not. */
function placeLink(shape: Shape, at: number, headSize: number): number {
  const total = headSize + shape.tailSize;
  if (total >= BLOCK_SIZE) {
    shape.blocks++;
    shape.tailSize = 0;
  }
  return Math.floor(at / BLOCK_SIZE) === Math.floor((at + total - 1) / BLOCK_SIZE) ? at : alignUp(at, BLOCK_SIZE);
}

/** The tail must not cross a block boundary: moved behind it, or where it does not fit there either, into a block of its own. */
function placeTail(shape: Shape, at: number, headSize: number): number {
  const room = BLOCK_SIZE - ((at + headSize) % BLOCK_SIZE);
  if (room >= shape.tailSize) return at;
  const moved = at + alignUp(room, INODE_SLOT_SIZE);
  if (BLOCK_SIZE - ((moved + headSize) % BLOCK_SIZE) >= shape.tailSize) return moved;
  shape.blocks++;
  shape.tailSize = 0;
  return alignUp(at, BLOCK_SIZE);
}

/** Version 2: extended inodes only, content never in blocks, and a padding rule of its own. */
const placeExtended: Placer = (draft, xattrs, at) => {
  const { blocks, tailSize, starts, size: own } = shapeOf(draft, false);
  const isDirectory = draft.data.kind === "directory";
  const size = isDirectory ? blocks * BLOCK_SIZE + tailSize : own;
  const headSize = RawInodeExtended.size + (xattrs?.size ?? 0);
  let position = at;
  if (tailSize > 0 && draft.data.kind !== "chunks") {
    // The last byte of the head and the byte behind the tail: a tail that ends a block exactly is moved too.
    const last = at + headSize - 1;
    const end = at + headSize + (size % BLOCK_SIZE);
    if (Math.floor(last / BLOCK_SIZE) !== Math.floor(end / BLOCK_SIZE))
      position = alignUp(at + BLOCK_SIZE - (last % BLOCK_SIZE), INODE_SLOT_SIZE);
  }
  const common = { draft, xattrs, size, position, headSize, tailSize, blocks };
  return { ...common, isExtended: true, startBlock: 0, blockStarts: starts };
};
