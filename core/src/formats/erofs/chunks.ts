/**
 * Second step of writing where files are cut into chunks: zeros take no blocks, equal chunks are stored once.
 * Spec: Linux fs/erofs/erofs_fs.h (struct erofs_inode_chunk_info) and data.c (erofs_map_blocks), as of 6.18.
 */
import { alignUp, isZero, toHex } from "../../bytes/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { BlockWriter } from "./blocks.ts";
import { type Extent, type Extents, fitsOneBlock, type StoreOptions } from "./data.ts";
import { NULL_BLOCK, RawChunkAddress } from "./format.ts";
import type { InodeTable } from "./inodes.ts";
import { fillFrom, type PlannedRead, READ_SIZE, readAhead } from "./read-ahead.ts";

/** Where a file in chunks is: its table of blocks, {@link NULL_BLOCK} for a hole. */
export interface ChunkedExtent {
  readonly kind: "chunked";
  /** log2 of chunk size / block size. */
  readonly chunkBits: number;
  readonly blocks: Uint32Array;
}

export const MAX_CHUNK_SIZE = READ_SIZE; // bytes; a chunk is looked at as a whole

export interface ChunkOptions extends StoreOptions {
  /** Bytes: a power of two from the block size to {@link MAX_CHUNK_SIZE}. */
  readonly chunkSize: number;
  readonly hashes: Hashes;
}

/** Bytes of the table behind inode and xattrs, which end where it may start. */
export function chunkTableSize({ blocks }: ChunkedExtent): number {
  return blocks.length * RawChunkAddress.size;
}

export function encodeChunkTable(extent: ChunkedExtent): Uint8Array {
  const bytes = new Uint8Array(chunkTableSize(extent));
  const view = new DataView(bytes.buffer);
  for (const [i, block] of extent.blocks.entries()) view.setUint32(i * RawChunkAddress.size, block, true);
  return bytes;
}

/** Some chunks of a file. */
interface ChunkRead extends PlannedRead {
  readonly file: number;
}

/**
 * Writes what chunks there are from the writer's position on. A file has no table where its chunks are nobody else's and lie
 * one behind the other.
 */
export async function storeChunks(table: InodeTable, writer: BlockWriter, options: ChunkOptions): Promise<Extents> {
  const { blockSize, chunkSize, hashes, signal, onStored, order, tails } = options;
  const extents: (Extent | undefined)[] = new Array(table.inodes.length);
  const known = new Map<string, number>(); // size and digest → block
  const shared = new Set<number>(); // blocks
  const tables = new Map<number, Uint32Array>(); // file → block of each chunk

  for (const file of order) {
    const inode = table.inodes[file]!; // the order has indexes of the table
    if (inode.node.type !== "file") continue;
    const { size } = inode.node.content;
    if (tails !== "blocks" && size > 0 && size < blockSize && fitsOneBlock(inode, size, blockSize))
      extents[file] = { kind: "inline", startBlock: 0, tailSize: size };
    else tables.set(file, new Uint32Array(Math.ceil(size / chunkSize)).fill(NULL_BLOCK));
  }

  /** The block of a chunk that is not all zeros. */
  async function store(chunk: Uint8Array): Promise<number> {
    const key = `${chunk.length}:${toHex(hashes.hash("sha256", chunk))}`;
    const found = known.get(key);
    if (found !== undefined) {
      shared.add(found);
      return found;
    }
    const block = writer.position / blockSize;
    known.set(key, block);
    await writer.append(chunk);
    await writer.zerosUpTo(alignUp(writer.position, blockSize));
    return block;
  }

  const buffer = new Uint8Array(READ_SIZE);
  for await (const done of readAhead(chunkReads(table, tables, options), { signal })) {
    const { file, offset, length } = done.read;
    let bytes = done.bytes;
    if (bytes === undefined) {
      bytes = buffer.subarray(0, length);
      await fillFrom(done.read, bytes, 0);
    }
    for (let at = 0; at < length; at += chunkSize) {
      const chunk = bytes.subarray(at, Math.min(at + chunkSize, length));
      if (!isZero(chunk)) tables.get(file)![(offset + at) / chunkSize] = await store(chunk); // files that are read have one
    }
    onStored?.(length);
  }
  const chunkBits = Math.log2(chunkSize / blockSize);
  for (const [file, blocks] of tables) {
    const isNext = (block: number, i: number): boolean => block === blocks[0]! + i * 2 ** chunkBits;
    const isRun = blocks.every((block, i) => isNext(block, i) && block !== NULL_BLOCK && !shared.has(block));
    extents[file] = isRun ? { kind: "plain", startBlock: blocks[0] ?? 0 } : { kind: "chunked", chunkBits, blocks };
  }
  return extents;
}

/** What is not known to be a hole, in whole chunks. */
function* chunkReads(
  table: InodeTable,
  tables: ReadonlyMap<number, unknown>,
  { chunkSize, onStored }: ChunkOptions,
): Generator<ChunkRead> {
  for (const file of tables.keys()) {
    const { node, path } = table.inodes[file]!; // a file is an index of the table
    if (node.type !== "file") continue;
    const source = node.content;
    for (let offset = 0; offset < source.size; ) {
      const data = source.dataFrom?.(offset) ?? offset;
      const from = Math.min(Math.floor(data / chunkSize) * chunkSize, source.size);
      if (from > offset) {
        onStored?.(from - offset);
        offset = from;
        continue;
      }
      const length = Math.min(READ_SIZE, source.size - offset);
      yield { source, path, offset, length, isLast: offset + length === source.size, file };
      offset += length;
    }
  }
}
