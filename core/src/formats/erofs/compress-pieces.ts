/** What is read of which file when contents are compressed: pieces that are encoded by themselves, in parts. */
import { ENCODE_CAPACITY } from "../../codecs/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { type Compression, type CompressionMethod, methodOf, packsEnds } from "./compress-method.ts";
import { type Extent, fitsOneBlock, type StoreOptions } from "./data.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";
import { type PlannedRead, READ_SIZE } from "./read-ahead.ts";

export interface CompressOptions extends StoreOptions {
  readonly compression: Compression;
  /** To find equal files. */
  readonly hashes: Hashes;
}

/** A part of a file that is stored by itself. */
export interface FilePiece {
  /** Index of the inode table. */
  readonly file: number;
  /** Bytes; all but the last piece of a file have whole blocks. */
  readonly size: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** Undefined where it is stored as it is without a try. */
  readonly method: CompressionMethod | undefined;
  /** All of a file that becomes a fragment; it is read to see whether another one equals it. */
  readonly isFragment: boolean;
}

/** Part of a piece, as it is read. */
export interface PieceRead extends PlannedRead {
  readonly piece: FilePiece;
  /** Bytes from the start of the piece. */
  readonly at: number;
}

export function contentSize({ node }: PlannedInode): number {
  return node.type === "file" ? node.content.size : 0;
}

/** Files by size: only where two have one can they be equal. */
export function countSizes(table: InodeTable): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { node } of table.inodes)
    if (node.type === "file") counts.set(node.content.size, (counts.get(node.content.size) ?? 0) + 1);
  return counts;
}

/** Bytes that a file may give to the packed inode. */
export function fragmentSize(inode: PlannedInode, options: CompressOptions): number {
  if (options.tails !== "fragments") return 0;
  const method = methodOf(inode, options.compression);
  return method !== undefined && packsEnds(options.tails, method)
    ? Math.min(contentSize(inode), method.clusterSize)
    : 0;
}

interface PieceContext {
  readonly extents: (Extent | undefined)[];
  readonly sizes: ReadonlyMap<number, number>;
  readonly candidates: ReadonlySet<number>;
  /** Makes a fragment of a file that equals no other. */
  takeWhole(file: number, size: number): void;
}

/** Cuts what has data of its own into pieces and these into reads; sets the extents of all other files. */
export function* pieceReads(table: InodeTable, context: PieceContext, options: CompressOptions): Generator<PieceRead> {
  const { extents, sizes, candidates, takeWhole } = context;
  const { blockSize, tails, order } = options;
  for (const file of order) {
    const inode = table.inodes[file]!; // the order has indexes of the table
    if (inode.node.type !== "file") continue;
    const { size } = inode.node.content;
    const chosen = methodOf(inode, options.compression);
    if (size === 0) extents[file] = { kind: "plain", startBlock: 0 };
    else if (candidates.has(file) && size <= (chosen?.clusterSize ?? 0)) {
      if (sizes.get(size) === 1) takeWhole(file, size);
      else yield* cutFile({ file, inode, method: undefined, isFragment: true });
    } else if (tails !== "blocks" && size < blockSize && fitsOneBlock(inode, size, blockSize))
      extents[file] = { kind: "inline", startBlock: 0, tailSize: size };
    // No cluster is less than a block.
    else yield* cutFile({ file, inode, method: size > blockSize ? chosen : undefined, isFragment: false });
  }
}

export function* cutFile({
  file,
  inode,
  method,
  isFragment,
}: Pick<FilePiece, "file" | "method" | "isFragment"> & { readonly inode: PlannedInode }): Generator<PieceRead> {
  const { node, path } = inode;
  if (node.type !== "file") return;
  const source = node.content;
  const { size } = source;
  for (let start = 0; start < size; start += ENCODE_CAPACITY) {
    const pieceSize = Math.min(ENCODE_CAPACITY, size - start);
    const isLast = start + pieceSize === size;
    const piece = { file, size: pieceSize, isFirst: start === 0, isLast, method, isFragment };
    for (let at = 0; at < pieceSize; at += READ_SIZE) {
      const length = Math.min(READ_SIZE, pieceSize - at);
      yield { source, path, offset: start + at, length, isLast: isLast && at + length === pieceSize, piece, at };
    }
  }
}
