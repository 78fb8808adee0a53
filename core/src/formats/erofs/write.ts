/**
 * Writes a tree as an EROFS image, strictly forward but for the first block. Linux 5.10 and later mount it.
 * The steps stand in inodes.ts, data.ts or compress.ts, plan.ts and emit.ts; the layout in README.md.
 */
import { encodeUtf8, formatUuid, isPowerOfTwo, parseUuid, type Uuid, uuidFromHash } from "../../bytes/index.ts";
import { type Hashes, pureHashes } from "../../hash/index.ts";
import type { RandomSink } from "../../source/index.ts";
import type { Directory, Node } from "../../tree/index.ts";
import { blockWriter } from "./blocks.ts";
import { MAX_CHUNK_SIZE, storeChunks } from "./chunks.ts";
import { type StoredFiles, storeCompressed } from "./compress.ts";
import { featuresOf } from "./compress-features.ts";
import type { Compression } from "./compress-method.ts";
import { dataOrder, findStored, type StoredData, storeData, type Tails } from "./data.ts";
import { emitMetadata, encodeHead, encodeSuperblock } from "./emit.ts";
import { headSize } from "./format.ts";
import { listInodes } from "./inodes.ts";
import { planMetadata } from "./plan.ts";

export interface WriteErofsOptions {
  /** Bytes: 512, 1024, 2048 or 4096. Linux before 6.4 reads only 4096. Default 4096. */
  readonly blockSize?: number | undefined;
  /**
   * Default `blocks`: a changed file changes no other block of data. `inline` is smaller. `ztailpacking` and `fragments` are
   * smaller still where contents are compressed, and the same as `inline` elsewhere; Linux reads them from 5.17 and 6.1 on.
   */
  readonly tails?: Tails | undefined;
  /** Default: contents are stored as they are. */
  readonly compression?: Compression | undefined;
  /**
   * Bytes: a power of two from the block size to 1 MiB. Zeros take no blocks then, and equal chunks are stored once; Linux
   * reads it from 5.15 on. Not together with `compression`.
   */
  readonly chunkSize?: number | undefined;
  /** Files whose data comes first, in this order; the others follow in the order of their paths. */
  readonly first?: readonly Node[] | undefined;
  /** At most 15 bytes of UTF-8. */
  readonly volumeName?: string | undefined;
  /**
   * 16 bytes in text order, or a function that is called when all but the head is written; it gets the superblock
   * (128 bytes, uuid and checksum zero; with compression what follows them too) and the size of the image in bytes. By default an RFC 9562 version 8 UUID from the SHA-256 of
   * all but the head, followed by these bytes.
   */
  readonly uuid?: Uint8Array | ((superblockWithoutUuid: Uint8Array, size: number) => Promise<Uint8Array>) | undefined;
  /**
   * Data that was written into the sink before, plain and in whole blocks. Where a file of the tree has to be elsewhere,
   * `withdraw` is called: it takes everything out of the sink, keeps the contents readable and gives the sink as it was
   * at first. Needs a `uuid`.
   */
  readonly stored?: (StoredData & { withdraw(): Promise<RandomSink> }) | undefined;
  /** For the default uuid, and to find equal files where contents are compressed. Default: {@link pureHashes}, which is slow. */
  readonly hashes?: Hashes | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of file content that are stored, of how many. Called often. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface WrittenErofs {
  /** Bytes of the image, a multiple of the block size. */
  readonly size: number;
  readonly blockSize: number;
  readonly blockCount: number;
  readonly uuid: Uuid;
  readonly inodeCount: number;
  /** Bytes of file content, each file once. */
  readonly contentSize: number;
  /** First block behind the file data. */
  readonly metaBlock: number;
}

function checkChunkSize(chunkSize: number | undefined, blockSize: number): void {
  if (chunkSize === undefined) return;
  if (!isPowerOfTwo(chunkSize) || chunkSize < blockSize || chunkSize > MAX_CHUNK_SIZE)
    throw new RangeError(`chunks of ${chunkSize} bytes: not a power of two from ${blockSize} to ${MAX_CHUNK_SIZE}`);
}

const DEFAULT_BLOCK_SIZE = 4096;
const MAX_VOLUME_NAME = 15; // bytes

/**
 * Writes the image of `root` into `sink`. The sink gets whole blocks, each once: all behind the head in ascending
 * order, in pieces of up to 1 MiB, then the head (the first block; the first 2 KiB where blocks are smaller than that).
 * The bytes depend on the tree and the options alone.
 *
 * Throws what {@link listInodes} throws for a tree that EROFS cannot hold, before anything is written; errors of
 * sources with the path in front; errors of the sink as they are; the reason of `signal`.
 */
export async function writeErofs(
  root: Directory,
  sink: RandomSink,
  options: WriteErofsOptions = {},
): Promise<WrittenErofs> {
  const { blockSize = DEFAULT_BLOCK_SIZE, tails = "blocks", signal, onProgress } = options;
  if (![512, 1024, 2048, 4096].includes(blockSize)) throw new RangeError(`block size ${blockSize} is not implemented`);
  const volumeName = encodeUtf8(options.volumeName ?? "");
  if (volumeName.length > MAX_VOLUME_NAME)
    throw new RangeError(`volume name has ${volumeName.length} bytes, more than ${MAX_VOLUME_NAME}`);
  checkChunkSize(options.chunkSize, blockSize);
  if (options.chunkSize !== undefined && options.compression !== undefined)
    throw new TypeError("chunks are not compressed");
  signal?.throwIfAborted();

  const table = listInodes(root);
  let done = 0;
  const onStored = (bytes: number): void => {
    done += bytes;
    onProgress?.(done, table.contentSize);
  };
  onProgress?.(0, table.contentSize);

  const { compression, chunkSize, stored } = options;
  if (stored !== undefined && options.uuid === undefined)
    throw new TypeError("data that is stored before is not part of the default uuid");
  const storing = { blockSize, tails, order: dataOrder(table, options.first), signal, onStored };
  const found =
    stored && compression === undefined && chunkSize === undefined ? findStored(table, stored, storing) : undefined;
  const target = stored === undefined || found !== undefined ? sink : await stored.withdraw();
  const hasher = options.uuid === undefined ? (options.hashes ?? pureHashes).create("sha256") : undefined;
  const observed: RandomSink = {
    writeAt(offset, bytes) {
      hasher?.update(bytes);
      return target.writeAt(offset, bytes);
    },
  };
  const writer =
    stored && found !== undefined ? stored.writer : blockWriter(observed, headSize(blockSize), { blockSize, signal });
  const { extents, packed } = await store();
  const full = packed === undefined ? table : { ...table, inodes: [...table.inodes, packed] };
  const features = compression && featuresOf(compression, blockSize);
  const metaBlock = writer.position / blockSize;
  const plan = planMetadata(full, extents, {
    metaBlock,
    blockSize,
    fillsBlocks: tails !== "blocks",
    packed: packed && table.inodes.length,
  });
  await emitMetadata(plan, writer, { signal, onStored });
  await writer.finish();

  const uuid = await chooseUuid(
    options.uuid,
    encodeSuperblock(plan, { volumeName, features, uuid: new Uint8Array(16) }),
  );
  await target.writeAt(0, encodeHead(encodeSuperblock(plan, { volumeName, features, uuid }), blockSize));
  return {
    size: plan.blockCount * blockSize,
    blockSize,
    blockCount: plan.blockCount,
    uuid: formatUuid(uuid),
    inodeCount: table.inodes.length,
    contentSize: table.contentSize,
    metaBlock: plan.metaBlock,
  };

  async function store(): Promise<StoredFiles> {
    if (found !== undefined) {
      onStored(table.contentSize);
      return { extents: found };
    }
    const hashes = options.hashes ?? pureHashes;
    if (compression !== undefined) return storeCompressed(table, writer, { ...storing, compression, hashes });
    if (chunkSize !== undefined)
      return { extents: await storeChunks(table, writer, { ...storing, chunkSize, hashes }) };
    return { extents: await storeData(table, writer, storing) };
  }

  async function chooseUuid(choice: WriteErofsOptions["uuid"], superblock: Uint8Array): Promise<Uint8Array> {
    if (typeof choice === "function") return choice(superblock, plan.blockCount * blockSize);
    if (choice !== undefined) return choice;
    hasher!.update(superblock); // there is one exactly when nothing was chosen
    return parseUuid(uuidFromHash(hasher!.digest()));
  }
}
