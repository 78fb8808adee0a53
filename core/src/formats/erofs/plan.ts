/** Third step of writing: fixes every offset of the metadata. Pure. */
import { alignUp } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { type CompressedExtent, mapSize } from "./compress-map.ts";
import { type Extents, fitsOneBlock } from "./data.ts";
import { type DirectoryLayout, layOutDirectory } from "./directories.ts";
import { type DataLayout, INODE_SLOT_SIZE } from "./format.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";

/** Where one inode stands and what stands behind it. */
export interface InodePlace {
  readonly nid: number;
  readonly layout: DataLayout;
  /** `i_size`, bytes. */
  readonly size: number;
  /** First block of what is not inline; 0 where nothing is. */
  readonly startBlock: number;
  /** Bytes of data behind inode and xattrs. */
  readonly inlineSize: number;
  readonly directory: DirectoryLayout | undefined;
  /** Its map stands behind inode and xattrs. */
  readonly compressed: CompressedExtent | undefined;
}

export interface MetadataPlan {
  readonly table: InodeTable;
  /** Bytes. */
  readonly blockSize: number;
  /** Block where the inode slots start. */
  readonly metaBlock: number;
  /** By index of the inode table. */
  readonly places: readonly InodePlace[];
  /** Inodes whose own data (directories, long links) stands in blocks behind the inodes, in order of these blocks. */
  readonly outOfLine: readonly number[];
  /** Block where the shared xattrs start; 0 where there are none. */
  readonly xattrBlock: number;
  /** Blocks of the image. */
  readonly blockCount: number;
}

/** Slot 0 stays empty: inode number 0 hides an entry from readdir, and the root must come first to have a 16-bit nid. */
const ROOT_NID = 1;

const MAX_BLOCKS = 0xfffffffe; // block addresses have 32 bits, and the last one means a hole

/**
 * Places inodes in canonical order, then directory blocks that are not inline, then shared xattrs.
 * Throws UnsupportedError `image-too-large` past 2^32 blocks.
 *
 * @param metaBlock first block behind the data
 */
export function planMetadata(
  table: InodeTable,
  extents: Extents,
  { metaBlock, blockSize }: { readonly metaBlock: number; readonly blockSize: number },
): MetadataPlan {
  const shapes = table.inodes.map((inode, i) => shapeOf(inode, extents[i], blockSize));
  const slots: number[] = [];
  let cursor = ROOT_NID * INODE_SLOT_SIZE; // bytes from the metadata's start
  for (const [i, shape] of shapes.entries()) {
    const inode = table.inodes[i]!; // same length
    let at = placeInline(cursor, inode, shape.inlineSize, blockSize);
    if (shape.directory !== undefined && at - cursor > blockSize - shape.inlineSize) {
      // Padding up to the next block would waste more than a block of its own does.
      shape.blocks++;
      shape.inlineSize = 0;
      at = placeInline(cursor, inode, 0, blockSize);
    }
    slots.push(at / INODE_SLOT_SIZE);
    cursor = at + inode.headSize + shape.inlineSize + shape.mapSize;
  }
  let block = metaBlock + Math.ceil(cursor / blockSize);
  const outOfLine: number[] = [];
  const places = shapes.map((shape, i): InodePlace => {
    let { startBlock } = shape;
    if (shape.blocks > 0) {
      outOfLine.push(i);
      startBlock = block;
      block += shape.blocks;
    }
    const { size, inlineSize, directory, compressed } = shape;
    const layout = layoutOf(shape);
    return { nid: slots[i]!, layout, size, startBlock, inlineSize, directory, compressed };
  });
  const xattrBlock = table.xattrs.sharedSize === 0 ? 0 : block;
  const blockCount = block + Math.ceil(table.xattrs.sharedSize / blockSize);
  if (blockCount > MAX_BLOCKS)
    throw new UnsupportedError("image-too-large", `the image needs ${blockCount} blocks, EROFS addresses 2^32`, {
      expected: MAX_BLOCKS,
      actual: blockCount,
    });
  return { table, blockSize, metaBlock, places, outOfLine, xattrBlock, blockCount };
}

interface Shape {
  readonly size: number;
  inlineSize: number;
  /** Blocks that are still to be placed. */
  blocks: number;
  readonly startBlock: number;
  readonly directory: DirectoryLayout | undefined;
  readonly compressed: CompressedExtent | undefined;
  /** Bytes. */
  readonly mapSize: number;
}

function layoutOf({ compressed, inlineSize }: Shape): DataLayout {
  if (compressed !== undefined) return compressed.packing === "blocks" ? "compressed-compact" : "compressed-full";
  return inlineSize > 0 ? "flat-inline" : "flat-plain";
}

const NO_MAP = { compressed: undefined, mapSize: 0 } as const;

function shapeOf(inode: PlannedInode, extent: Extents[number], blockSize: number): Shape {
  const { node } = inode;
  if (node.type === "file") {
    const compressed = extent?.kind === "compressed" ? extent : undefined;
    const inlineSize = extent?.kind === "inline" ? extent.tailSize : 0;
    return {
      size: node.content.size,
      inlineSize,
      blocks: 0,
      startBlock: extent?.startBlock ?? 0,
      directory: undefined,
      compressed,
      mapSize: compressed === undefined ? 0 : mapSize(compressed, inode.headSize, node.content.size, blockSize),
    };
  }
  if (node.type === "symlink") {
    const size = node.target.length;
    const isInline = fitsOneBlock(inode, size, blockSize);
    const blocks = isInline ? 0 : Math.ceil(size / blockSize);
    return { size, inlineSize: isInline ? size : 0, blocks, startBlock: 0, directory: undefined, ...NO_MAP };
  }
  if (node.type === "directory") {
    const directory = layOutDirectory(node, blockSize, inode.path);
    const { size } = directory;
    const tailSize = size % blockSize;
    const isInline = tailSize > 0 && fitsOneBlock(inode, tailSize, blockSize);
    const blocks = isInline ? Math.floor(size / blockSize) : Math.ceil(size / blockSize);
    return { size, inlineSize: isInline ? tailSize : 0, blocks, startBlock: 0, directory, ...NO_MAP };
  }
  return { size: 0, inlineSize: 0, blocks: 0, startBlock: 0, directory: undefined, ...NO_MAP };
}

/**
 * First slot at or after `cursor` where the inline data crosses no block boundary. A symlink must not cross one with
 * its inode and xattrs either: kernels before 6.12 take that for corruption (erofs_fill_symlink).
 */
function placeInline(cursor: number, inode: PlannedInode, inlineSize: number, blockSize: number): number {
  const at = alignUp(cursor, INODE_SLOT_SIZE);
  if (inlineSize === 0) return at;
  const inlineStart = at + inode.headSize;
  const from = inode.node.type === "symlink" ? at : inlineStart;
  if (Math.floor(from / blockSize) === Math.floor((inlineStart + inlineSize - 1) / blockSize)) return at;
  if (inode.node.type === "symlink") return alignUp(at, blockSize);
  // Inode and xattrs may stay in this block where the inline data then starts right behind the boundary.
  const moved = alignUp(alignUp(inlineStart, blockSize) - inode.headSize, INODE_SLOT_SIZE);
  const start = (moved + inode.headSize) % blockSize;
  return start + inlineSize <= blockSize ? moved : alignUp(at, blockSize);
}
