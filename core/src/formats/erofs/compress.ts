/**
 * Second step of writing where contents are compressed: clusters of blocks, strictly forward, in canonical order. Files
 * are cut into pieces that are encoded by themselves, many at once, so the bytes do not depend on who encodes them.
 */
import { alignUp, toHex } from "../../bytes/index.ts";
import { ENCODE_CAPACITY, type EncodedPieces, type EncodeSlot } from "../../codecs/index.ts";
import type { BlockWriter } from "./blocks.ts";
import { algorithmNumber } from "./compress-features.ts";
import type { CompressedExtent } from "./compress-map.ts";
import { type CompressionMethod, packsEnds, unitOf } from "./compress-method.ts";
import {
  type CompressOptions,
  contentSize,
  countSizes,
  cutFile,
  type FilePiece,
  fragmentSize,
  type PieceRead,
  pieceReads,
} from "./compress-pieces.ts";
import { type Extent, type Extents, fitsOneBlock } from "./data.ts";
import { INODE_SLOT_SIZE } from "./format.ts";
import { fragmentCandidates, packFiles, WHOLE_FRAGMENT } from "./fragments.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";
import { fillFrom, readAhead } from "./read-ahead.ts";

interface Batch {
  readonly slot: EncodeSlot;
  readonly pieces: (FilePiece & { readonly at: number })[];
  /** Bytes of the slot's input. */
  used: number;
  /** Of all its pieces that are encoded. */
  method: CompressionMethod | undefined;
  encoded: Promise<EncodedPieces> | undefined;
}

/** A file of which the first piece is written and the last may not be. */
interface OpenFile {
  readonly startBlock: number;
  readonly method: CompressionMethod | undefined;
  readonly clusters: number[];
  /** Nothing of it is compressed so far. */
  isPlain: boolean;
}

const openFile = (startBlock: number, method: CompressionMethod | undefined): OpenFile => ({
  startBlock,
  method,
  clusters: [],
  isPlain: true,
});

export interface StoredFiles {
  /** Those of the table's files, then that of the packed inode. */
  readonly extents: Extents;
  /** What follows the table's inodes. */
  readonly packed?: PlannedInode | undefined;
}

/**
 * Writes every file's blocks from the writer's position on and tells where they are. A file that another one equals is
 * stored once; what does not get smaller is stored as it is.
 */
export async function storeCompressed(
  table: InodeTable,
  writer: BlockWriter,
  options: CompressOptions,
): Promise<StoredFiles> {
  const { blockSize, tails, signal, hashes } = options;
  let { onStored } = options;
  const { encoder } = options.compression;
  const extents: (Extent | undefined)[] = new Array(table.inodes.length);
  let { inodes } = table;
  const sizes = countSizes(table);
  const known = new Map<string, number>(); // size and digest → file
  const same = new Map<number, number>(); // file → the one that it equals
  const candidates = fragmentCandidates(options.order, (file) => fragmentSize(table.inodes[file]!, options)); // an index
  const fragments = new Map<number, number>(); // file → bytes of its end
  const queue: Batch[] = [];
  let open: OpenFile | undefined;
  let batch: Batch | undefined;

  function submit(): void {
    if (batch === undefined) return;
    const pieces = batch.pieces.filter(({ method }) => method !== undefined).map(({ at, size }) => ({ at, size }));
    const { algorithm, level, packing = "blocks", clusterSize } = batch.method ?? options.compression;
    batch.encoded = batch.slot.encode(pieces, { algorithm, level, blockSize, packing, clusterSize });
    batch.encoded.catch(() => {}); // thrown when its turn comes
    queue.push(batch);
    batch = undefined;
  }

  async function startBatch(): Promise<Batch> {
    while (queue.length >= encoder.slots) await writeOldest();
    return { slot: await encoder.take(), pieces: [], used: 0, method: undefined, encoded: undefined };
  }

  async function writeOldest(): Promise<void> {
    const { slot, pieces, encoded } = queue.shift()!; // callers look first
    const { bytes, extents: made } = await encoded!; // whatever is queued is submitted
    let at = 0; // bytes of blocks
    let cluster = 0; // numbers
    for (const piece of pieces) {
      const { method } = piece;
      open = piece.isFirst || open === undefined ? openFile(writer.position / blockSize, method) : open;
      let stored: Uint8Array;
      if (method === undefined) stored = slot.input.subarray(piece.at, piece.at + alignUp(piece.size, blockSize));
      else {
        const unit = unitOf(method, blockSize);
        const start = at;
        for (let content = 0; content < piece.size; cluster += 2) {
          open.clusters.push(made[cluster]!, made[cluster + 1]!); // the encoder's clusters add up to its pieces
          content += made[cluster]!;
          at += (made[cluster + 1]! >>> 1) * unit;
          open.isPlain &&= (made[cluster + 1]! & 1) === 0;
        }
        stored = bytes.subarray(start, at);
      }
      const tailSize = piece.isLast && open.isPlain ? inlineTail(piece.file) : 0;
      const end = piece.isLast ? packEnd(open, piece.file, stored) : {};
      const left = stored.length - (end.blocks ?? 0) * blockSize;
      await writer.append(stored.subarray(0, tailSize === 0 ? left : piece.size - tailSize));
      if (piece.isLast) {
        await writer.zerosUpTo(alignUp(writer.position, blockSize));
        const isEmpty = writer.position === open.startBlock * blockSize;
        const startBlock = isEmpty ? 0 : open.startBlock;
        extents[piece.file] =
          tailSize === 0 ? closeFile(open, end, blockSize) : { kind: "inline", startBlock, tailSize };
      }
      onStored?.(piece.size - tailSize);
    }
    slot.release();
  }

  /** Bytes of a file that is stored as it is that stand behind its inode. */
  function inlineTail(file: number): number {
    const inode = inodes[file]!; // a file is an index of them
    const tailSize = contentSize(inode) % blockSize;
    return tails !== "blocks" && fitsOneBlock(inode, tailSize, blockSize) ? tailSize : 0;
  }

  /** Where the last cluster of a file goes if not into blocks. `stored` ends with it. */
  function packEnd({ method, clusters, isPlain }: OpenFile, file: number, stored: Uint8Array): PackedEnd {
    if (method === undefined || isPlain || !packsEnds(tails, method) || file >= table.inodes.length) return {};
    const [size, units] = [clusters.at(-2)!, clusters.at(-1)!]; // pairs, and a file that is not plain has one
    const blocks = units >>> 1;
    if (candidates.has(file) && size <= method.clusterSize) {
      fragments.set(file, size);
      return { fragment: 0, blocks }; // where it is, is known when all are
    }
    if (blocks > 1) return {};
    const last = stored.subarray(stored.length - blockSize);
    let start = 0;
    while ((units & 1) === 1 && last[start] === 0) start++; // no compressed stream begins with a zero
    const inline = (units & 1) === 1 ? last.slice(start) : last.slice(0, size);
    // Wherever the map ends, a slot is found from which on it fits.
    return inline.length <= blockSize - INODE_SLOT_SIZE ? { inline, blocks } : {};
  }

  /** Whether the file was stored already. `content` is all of it. */
  function isKnown(file: number, content: Uint8Array): boolean {
    if ((sizes.get(content.length) ?? 0) < 2 || file >= table.inodes.length) return false;
    const { headSize } = table.inodes[file]!; // a file is an index of the table
    const room = tails !== "blocks" ? headSize : 0; // a tail that has room behind one inode may have none behind another
    const key = `${content.length}:${room}:${toHex(hashes.hash("sha256", content))}`;
    const first = known.get(key);
    if (first === undefined) known.set(key, file);
    else same.set(file, first);
    return first !== undefined;
  }

  function takeWhole(file: number, size: number): void {
    fragments.set(file, size);
    extents[file] = WHOLE_FRAGMENT;
    onStored?.(size);
  }

  async function storeAll(reads: Iterable<PieceRead>): Promise<void> {
    for await (const { read, bytes } of readAhead(reads, { signal })) {
      const { piece, at, length } = read;
      if (at === 0) {
        const isOther = piece.method !== undefined && batch?.method !== undefined && batch.method !== piece.method;
        if (batch !== undefined && (isOther || batch.used + alignUp(piece.size, blockSize) > ENCODE_CAPACITY)) submit();
        batch ??= await startBatch();
        batch.method ??= piece.method;
      }
      const { slot, used, pieces }: Batch = batch!; // started with the piece
      const target = slot.input.subarray(used + at, used + at + length);
      if (bytes !== undefined) target.set(bytes);
      else await fillFrom(read, target, 0);
      if (at + length < piece.size) continue;
      if (piece.isFirst && piece.isLast && isKnown(piece.file, slot.input.subarray(used, used + piece.size))) continue;
      if (piece.isFragment) {
        takeWhole(piece.file, piece.size);
        continue;
      }
      const end = used + alignUp(piece.size, blockSize);
      slot.input.fill(0, used + piece.size, end);
      pieces.push({ ...piece, at: used });
      batch!.used = end;
    }
    submit();
    while (queue.length > 0) await writeOldest();
  }

  await storeAll(pieceReads(table, { extents, sizes, candidates, takeWhole }, options));
  const packed = fragments.size === 0 ? undefined : packFiles(table, options.order, fragments);
  for (const [file, fragment] of packed?.places ?? [])
    extents[file] = { ...(extents[file] as CompressedExtent), fragment }; // only such files have places
  for (const [file, first] of same) {
    const extent = extents[first];
    extents[file] = extent;
    onStored?.(contentSize(table.inodes[file]!) - (extent?.kind === "inline" ? extent.tailSize : 0)); // an index of the table
  }
  if (packed === undefined) return { extents };
  onStored = undefined; // its content is that of files
  inodes = [...inodes, packed.inode];
  extents.push(undefined);
  const { compression: method } = options;
  await storeAll(cutFile({ file: inodes.length - 1, inode: packed.inode, method, isFragment: false }));
  return { extents, packed: packed.inode };
}

/** Where the last cluster of a file is, if not in blocks. */
interface PackedEnd {
  readonly inline?: Uint8Array | undefined;
  /** Bytes from the start of the packed inode. */
  readonly fragment?: number | undefined;
  /** That it would have taken. */
  readonly blocks?: number | undefined;
}

/** Clusters that are all plain lie as an uncompressed file does. */
function closeFile({ startBlock, method, clusters, isPlain }: OpenFile, end: PackedEnd, blockSize: number): Extent {
  if (method === undefined || isPlain) return { kind: "plain", startBlock };
  let stored = 0;
  for (let i = 1; i < clusters.length; i += 2) stored += clusters[i]! >>> 1; // pairs
  const { inline, fragment, blocks = 0 } = end;
  return {
    kind: "compressed",
    startBlock,
    blocks: Math.ceil((stored * unitOf(method, blockSize)) / blockSize) - blocks,
    clusters: Uint32Array.from(clusters),
    algorithm: algorithmNumber(method.algorithm),
    packing: method.packing ?? "blocks",
    isBig: method.clusterSize > blockSize,
    inline,
    fragment,
  };
}
