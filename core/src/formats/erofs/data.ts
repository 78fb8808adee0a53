/** Second step of writing: file contents into whole blocks, strictly forward, in canonical order. */
import { alignUp } from "../../bytes/index.ts";
import { type Source, windowOf } from "../../source/index.ts";
import type { Node } from "../../tree/index.ts";
import type { BlockWriter } from "./blocks.ts";
import type { ChunkedExtent } from "./chunks.ts";
import type { CompressedExtent } from "./compress-map.ts";
import { headSize } from "./format.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";
import { type DoneRead, fillFrom, type PlannedRead, READ_SIZE, readAhead } from "./read-ahead.ts";

/** Where a file's data lies. */
export type Extent =
  /** All of it in whole blocks from `startBlock` on, the last one zero-padded. An empty file has block 0. */
  | { readonly kind: "plain"; readonly startBlock: number }
  /** All but the last `tailSize` bytes in whole blocks; these stand behind the inode. */
  | { readonly kind: "inline"; readonly startBlock: number; readonly tailSize: number }
  /** In clusters; their map stands behind the inode. */
  | CompressedExtent
  /** In chunks anywhere; the table of their blocks stands behind the inode. */
  | ChunkedExtent;

/** By index of the inode table; undefined for all but regular files. */
export type Extents = readonly (Extent | undefined)[];

/**
 * `blocks`: the end of a file has its own block. `inline`: it stands behind the inode, where one block has room for both;
 * of compressed files with `ztailpacking` too, where the last cluster is small enough. `fragments`: ends of compressed files
 * and small files as a whole that have no more content than a cluster has bytes are one content, which is compressed again: the packed
 * inode's; the rest is as with `ztailpacking`.
 */
export type Tails = "blocks" | "inline" | "ztailpacking" | "fragments";

export interface StoreOptions {
  /** Bytes. */
  readonly blockSize: number;
  readonly tails: Tails;
  /** Indexes of all regular files, in the order of their data: see {@link dataOrder}. */
  readonly order: readonly number[];
  readonly signal?: AbortSignal | undefined;
  /** After each piece: bytes of content just stored. */
  readonly onStored?: ((bytes: number) => void) | undefined;
}

/** All regular files in the order in which their data is stored: those of `first`, then the others in canonical order. */
export function dataOrder(table: InodeTable, first: readonly Node[] = []): readonly number[] {
  const order = new Set<number>();
  const add = (index: number | undefined): void => {
    if (index !== undefined && table.inodes[index]?.node.type === "file") order.add(index);
  };
  for (const node of first) add(table.indexOf.get(node));
  for (const index of table.inodes.keys()) add(index);
  return [...order];
}

/**
 * Writes every file's blocks from the writer's position on and tells where they are.
 * Throws what {@link readAhead} and the sink throw.
 */
export async function storeData(table: InodeTable, writer: BlockWriter, options: StoreOptions): Promise<Extents> {
  const { blockSize, signal, onStored } = options;
  const extents = placeData(table, writer.position / blockSize, options);
  for await (const done of readAhead(blockReads(table, extents, options), { signal })) {
    const { read } = done;
    const full = storeRead(done, writer);
    if (full !== undefined) await full;
    if (read.isLast) {
      const padded = writer.zerosUpTo(alignUp(writer.position, blockSize));
      if (padded !== undefined) await padded;
    }
    onStored?.(read.length);
  }
  return extents;
}

/** File data that stands in the sink already, from the first block behind the head on. */
export interface StoredData {
  /** What contents are windows of, by the offsets of the image. */
  readonly source: Source;
  /** What wrote it, and goes on behind it. */
  readonly writer: BlockWriter;
}

/** Where every file's blocks are, if they all stand in `stored`, each where it belongs and nothing else between them. */
export function findStored(
  table: InodeTable,
  { source, writer }: StoredData,
  options: StoreOptions,
): Extents | undefined {
  const { blockSize } = options;
  const firstBlock = Math.ceil(headSize(blockSize) / blockSize);
  const extents = placeData(table, firstBlock, options);
  let end = firstBlock;
  for (const i of options.order) {
    const { node } = table.inodes[i]!; // the order has indexes of the table
    if (node.type !== "file" || node.content.size === 0) continue;
    const extent = extents[i]!; // a file has one
    const window = windowOf(node.content);
    if (extent.kind !== "plain" || window?.source !== source) return undefined;
    if (window.start !== extent.startBlock * blockSize) return undefined;
    end = extent.startBlock + Math.ceil(node.content.size / blockSize);
  }
  return end * blockSize === writer.position ? extents : undefined;
}

/** Straight into the writer's buffer where the source can do that. */
export function storeRead({ read, bytes }: DoneRead, writer: BlockWriter): Promise<void> | undefined {
  if (bytes !== undefined) return writer.append(bytes);
  return writer.fill(read.length, (target, at) => fillFrom(read, target, at));
}

function placeData(table: InodeTable, firstBlock: number, { blockSize, tails, order }: StoreOptions): Extent[] {
  const extents: Extent[] = new Array(table.inodes.length);
  let block = firstBlock;
  for (const i of order) {
    const inode = table.inodes[i]!; // the order has indexes of the table
    if (inode.node.type !== "file") continue;
    const { size } = inode.node.content;
    const tailSize = size % blockSize;
    const isInline = tails !== "blocks" && tailSize > 0 && fitsOneBlock(inode, tailSize, blockSize);
    const blocks = isInline ? Math.floor(size / blockSize) : Math.ceil(size / blockSize);
    const startBlock = blocks === 0 ? 0 : block;
    extents[i] = isInline ? { kind: "inline", startBlock, tailSize } : { kind: "plain", startBlock };
    block += blocks;
  }
  return extents;
}

/** Whether `size` bytes behind the inode can be in one block together with it, wherever that block starts. */
export function fitsOneBlock(inode: PlannedInode, size: number, blockSize: number): boolean {
  return inode.headSize + size <= blockSize;
}

/** What goes into blocks, in pieces. */
function* blockReads(table: InodeTable, extents: Extents, { order }: StoreOptions): Generator<PlannedRead> {
  for (const i of order) {
    const inode = table.inodes[i]!; // the order has indexes of the table
    const extent = extents[i];
    if (inode.node.type !== "file" || extent === undefined) continue;
    const { content } = inode.node;
    const size = content.size - (extent.kind === "inline" ? extent.tailSize : 0);
    for (let offset = 0; offset < size; offset += READ_SIZE) {
      const length = Math.min(READ_SIZE, size - offset);
      yield { source: content, path: inode.path, offset, length, isLast: offset + length === size };
    }
  }
}
