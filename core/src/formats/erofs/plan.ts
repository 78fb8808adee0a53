/** Third step of writing: fixes every offset of the metadata. Pure. */
import { UnsupportedError } from "../../errors/index.ts";
import { type ChunkedExtent, chunkTableSize } from "./chunks.ts";
import { type CompressedExtent, mapSize } from "./compress-map.ts";
import { type Extents, fitsOneBlock } from "./data.ts";
import { type DirectoryLayout, layOutDirectory } from "./directories.ts";
import { type DataLayout, INODE_SLOT_SIZE } from "./format.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";
import { fillingPlacer, orderedPlacer, type Unit } from "./place.ts";

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
  /** Its table stands there. */
  readonly chunked: ChunkedExtent | undefined;
}

export interface MetadataPlan {
  readonly table: InodeTable;
  /** Bytes. */
  readonly blockSize: number;
  /** Index of the packed inode, where there is one. */
  readonly packed: number | undefined;
  /** Block where the inode slots start. */
  readonly metaBlock: number;
  /** By index of the inode table. */
  readonly places: readonly InodePlace[];
  /** All indexes of the inode table, in order of nids. */
  readonly order: readonly number[];
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

export interface PlanOptions {
  /** First block behind the data. */
  readonly metaBlock: number;
  /** Bytes. */
  readonly blockSize: number;
  /** Whether inodes fill what is left at the ends of blocks, out of canonical order. */
  readonly fillsBlocks?: boolean | undefined;
  /** Index of the packed inode. */
  readonly packed?: number | undefined;
}

/**
 * Places inodes in canonical order, then directory blocks that are not inline, then shared xattrs.
 * Throws UnsupportedError `image-too-large` past 2^32 blocks.
 */
export function planMetadata(
  table: InodeTable,
  extents: Extents,
  { metaBlock, blockSize, fillsBlocks = false, packed }: PlanOptions,
): MetadataPlan {
  const shapes = table.inodes.map((inode, i) => shapeOf(inode, extents[i], blockSize));
  const slots: number[] = [];
  const placer = (fillsBlocks ? fillingPlacer : orderedPlacer)(ROOT_NID * INODE_SLOT_SIZE, blockSize);
  for (const [i, shape] of shapes.entries()) {
    const inode = table.inodes[i]!; // same length
    if (shape.directory !== undefined && placer.skips(unitOf(inode, shape)) > blockSize - shape.inlineSize) {
      // Padding up to the next block would waste more than a block of its own does.
      shape.blocks++;
      shape.inlineSize = 0;
    }
    slots.push(placer.place(unitOf(inode, shape)) / INODE_SLOT_SIZE);
  }
  let block = metaBlock + Math.ceil(placer.end / blockSize);
  const outOfLine: number[] = [];
  const places = shapes.map((shape, i): InodePlace => {
    let { startBlock } = shape;
    if (shape.blocks > 0) {
      outOfLine.push(i);
      startBlock = block;
      block += shape.blocks;
    }
    const { size, inlineSize, directory, compressed, chunked } = shape;
    const layout = layoutOf(shape);
    return { nid: slots[i]!, layout, size, startBlock, inlineSize, directory, compressed, chunked };
  });
  const xattrBlock = table.xattrs.sharedSize === 0 ? 0 : block;
  const blockCount = block + Math.ceil(table.xattrs.sharedSize / blockSize);
  if (blockCount > MAX_BLOCKS)
    throw new UnsupportedError("image-too-large", `the image needs ${blockCount} blocks, EROFS addresses 2^32`, {
      expected: MAX_BLOCKS,
      actual: blockCount,
    });
  const order = [...slots.keys()].sort((a, b) => slots[a]! - slots[b]!); // indexes of slots
  return { table, packed, blockSize, metaBlock, places, order, outOfLine, xattrBlock, blockCount };
}

interface Shape {
  readonly size: number;
  inlineSize: number;
  /** Blocks that are still to be placed. */
  blocks: number;
  readonly startBlock: number;
  readonly directory: DirectoryLayout | undefined;
  readonly compressed: CompressedExtent | undefined;
  readonly chunked: ChunkedExtent | undefined;
  /** Bytes of the map or table of either. */
  readonly mapSize: number;
}

function layoutOf({ compressed, chunked, inlineSize }: Shape): DataLayout {
  if (chunked !== undefined) return "chunk-based";
  if (compressed !== undefined) return compressed.packing === "blocks" ? "compressed-compact" : "compressed-full";
  return inlineSize > 0 ? "flat-inline" : "flat-plain";
}

const NO_MAP = { compressed: undefined, chunked: undefined, mapSize: 0 } as const;

function shapeOf(inode: PlannedInode, extent: Extents[number], blockSize: number): Shape {
  const { node } = inode;
  if (node.type === "file") {
    const { size } = node.content;
    const file = { size, inlineSize: 0, blocks: 0, startBlock: 0, directory: undefined, ...NO_MAP };
    if (extent === undefined) return file;
    if (extent.kind === "chunked") return { ...file, chunked: extent, mapSize: chunkTableSize(extent) };
    const { startBlock } = extent;
    if (extent.kind === "plain") return { ...file, startBlock };
    if (extent.kind === "inline") return { ...file, startBlock, inlineSize: extent.tailSize };
    const inlineSize = extent.inline?.length ?? 0;
    const map = mapSize(extent, inode.headSize, size, blockSize);
    return { ...file, startBlock, inlineSize, compressed: extent, mapSize: map };
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

/** A symlink must not share two blocks with its inode: kernels before 6.12 take that for corruption (erofs_fill_symlink). */
function unitOf({ node, headSize }: PlannedInode, { inlineSize, mapSize }: Shape): Unit {
  const size = headSize + mapSize + inlineSize;
  if (inlineSize === 0) return { size, wholeFrom: undefined };
  return { size, wholeFrom: node.type === "symlink" ? 0 : headSize + mapSize };
}
