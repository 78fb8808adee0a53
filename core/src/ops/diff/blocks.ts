/**
 * What an update would move: 4 KiB blocks of B that A has at no place. Of two EROFS images these are blocks of the
 * images, named by the leaves of their hash trees where these compare; else blocks of the files' contents.
 */
import { equalBytes, toHex } from "../../bytes/index.ts";
import { IntegrityError } from "../../errors/index.ts";
import {
  buildHashTree,
  layoutHashTree,
  readVeritySuperblock,
  type VerityParameters,
} from "../../formats/verity/index.ts";
import { type BlockHasher, type BlockHashParameters, DIGEST_SIZES } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import type { Directory, Node, RegularFile } from "../../tree/index.ts";
import { walkTree } from "../../tree/index.ts";
import { type DigestSet, digestSet } from "./digest-set.ts";

/** Bytes of the blocks that updates are made of. */
export const UPDATE_BLOCK_SIZE = 4096;
/** Blocks that are hashed in one go, and such batches in work at the same time. */
const BATCH_BLOCKS = 512;
const MAX_BATCHES = 4;

/** An EROFS image as it lies on a disk. */
export interface SideImage {
  /** The data device, as long as the image. */
  readonly data: Source;
  /** The tree that a root hash names; undefined for a bare image. */
  readonly hashTree: { readonly device: Source; readonly rootHash: Uint8Array } | undefined;
}

export interface BlockSide {
  readonly root: Directory;
  readonly image: SideImage | undefined;
}

export interface BlockOptions extends ReadOptions {
  readonly hasher: BlockHasher;
  /** @param amount bytes hashed since the last call */
  readonly onProgress?: ((amount: number) => void) | undefined;
}

export interface BlockDifference {
  /** `image`: all blocks of both EROFS images. `contents`: blocks of file contents alone, as one side is no image. */
  readonly basis: "image" | "contents";
  /** Whether the blocks of each side are named by its own hash tree, so that they were not read for it. */
  readonly fromHashTree: { readonly a: boolean; readonly b: boolean };
  /** Blocks of B: of the image, or of the contents of its files. */
  readonly total: number;
  /** Different blocks of B that A has nowhere. */
  readonly moved: number;
  /** Of these, blocks by the file that first has them. */
  readonly byFile: ReadonlyMap<RegularFile, number>;
  /** Moved blocks that no changed file has: inodes, directories, links, xattrs, and data that lies differently. */
  readonly unattributed: number;
}

/** @param files files of B whose content is new, in the order in which blocks are attributed to them */
export async function compareBlocks(
  a: BlockSide,
  b: BlockSide,
  files: readonly RegularFile[],
  options: BlockOptions,
): Promise<BlockDifference> {
  const both = a.image !== undefined && b.image !== undefined;
  return both ? compareImages(a.image, b.image, files, options) : compareContents(a.root, b.root, files, options);
}

async function compareImages(
  a: SideImage,
  b: SideImage,
  files: readonly RegularFile[],
  options: BlockOptions,
): Promise<BlockDifference> {
  const trees = { a: await readHashTree(a, options), b: await readHashTree(b, options) };
  const parameters = trees.a?.parameters ?? trees.b?.parameters ?? PLAIN;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const there = digestSet(digestSize);
  await forEachLeaf(a, trees.a, parameters, options, (leaves, at) => there.add(leaves, at));
  const fresh = digestSet(digestSize);
  let total = 0;
  await forEachLeaf(b, trees.b, parameters, options, (leaves, at) => {
    total++;
    if (!there.has(leaves, at)) fresh.add(leaves, at);
  });
  const claimed = digestSet(digestSize);
  const byFile = new Map<RegularFile, number>();
  if (fresh.size > 0)
    await forEachContentBlock(files, parameters, options, (file, digests, at) => {
      if (fresh.has(digests, at) && claimed.add(digests, at)) byFile.set(file, (byFile.get(file) ?? 0) + 1);
    });
  return {
    basis: "image",
    fromHashTree: { a: fits(trees.a, parameters), b: fits(trees.b, parameters) },
    total,
    moved: fresh.size,
    byFile,
    unattributed: fresh.size - claimed.size,
  };
}

async function compareContents(
  a: Directory,
  b: Directory,
  files: readonly RegularFile[],
  options: BlockOptions,
): Promise<BlockDifference> {
  let total = 0;
  for (const { content } of filesOf(b)) total += Math.ceil(content.size / UPDATE_BLOCK_SIZE);
  const byFile = new Map<RegularFile, number>();
  const fresh = digestSet(DIGEST_SIZES.sha256);
  if (files.length > 0) {
    const there: DigestSet = digestSet(DIGEST_SIZES.sha256);
    await forEachContentBlock(filesOf(a), PLAIN, options, (_, digests, at) => there.add(digests, at));
    await forEachContentBlock(files, PLAIN, options, (file, digests, at) => {
      if (!there.has(digests, at) && fresh.add(digests, at)) byFile.set(file, (byFile.get(file) ?? 0) + 1);
    });
  }
  const fromHashTree = { a: false, b: false };
  return { basis: "contents", fromHashTree, total, moved: fresh.size, byFile, unattributed: 0 };
}

const PLAIN: BlockHashParameters = {
  algorithm: "sha256",
  salt: /* @__PURE__ */ new Uint8Array(0),
  blockSize: UPDATE_BLOCK_SIZE,
};

/** Each regular file once, in canonical order. */
function* filesOf(root: Directory): Generator<RegularFile> {
  const seen = new Set<Node>();
  for (const { node } of walkTree(root)) {
    if (node.type !== "file" || seen.has(node)) continue;
    seen.add(node);
    yield node;
  }
}

interface Leaves {
  readonly parameters: BlockHashParameters;
  readonly digests: Uint8Array;
}

function fits(leaves: Leaves | undefined, { algorithm, salt, blockSize }: BlockHashParameters): boolean {
  const own = leaves?.parameters;
  return own?.algorithm === algorithm && own.blockSize === blockSize && equalBytes(own.salt, salt);
}

/**
 * The leaves of a hash device, checked up to the root hash. Undefined where there is none or its blocks have another
 * size. Throws IntegrityError `verity-size`, `verity-root-hash`.
 */
async function readHashTree({ hashTree }: SideImage, options: BlockOptions): Promise<Leaves | undefined> {
  if (hashTree === undefined) return undefined;
  const { device, rootHash } = hashTree;
  const superblock = await readVeritySuperblock(device, options);
  if (superblock.dataBlockSize !== UPDATE_BLOCK_SIZE) return undefined;
  if (rootHash.length !== DIGEST_SIZES[superblock.algorithm])
    throw new IntegrityError(
      "verity-root-hash",
      `root hash has ${rootHash.length} bytes, the hash device is made with ${superblock.algorithm}`,
    );
  const layout = layoutHashTree(superblock.dataBlocks, superblock);
  if (layout.size > device.size)
    throw new IntegrityError(
      "verity-size",
      `verity hash device has ${device.size} bytes, ${layout.size} are needed for its tree`,
      { expected: layout.size, actual: device.size },
    );
  const size = superblock.dataBlocks * DIGEST_SIZES[superblock.algorithm];
  const [lowest] = layout.levels;
  // Without a level there is one block, and the root hash is its digest.
  const digests =
    lowest === undefined ? rootHash : await device.read(lowest.firstBlock * superblock.hashBlockSize, size, options);
  const { rootHash: actual } = await buildHashTree(digests, superblock, options.hasher);
  if (!equalBytes(actual, rootHash))
    throw new IntegrityError(
      "verity-root-hash",
      `the leaves of the hash tree give root hash ${toHex(actual)}, not ${toHex(rootHash)}`,
      { expected: toHex(rootHash), actual: toHex(actual) },
    );
  return { parameters: blockHashOf(superblock), digests };
}

function blockHashOf({ algorithm, salt, dataBlockSize }: VerityParameters): BlockHashParameters {
  return { algorithm, salt, blockSize: dataBlockSize };
}

type Visit = (digests: Uint8Array, at: number) => void;

/** Every block of an image by its digest: from its own tree where that is made with these parameters, else hashed. */
async function forEachLeaf(
  { data }: SideImage,
  own: Leaves | undefined,
  parameters: BlockHashParameters,
  options: BlockOptions,
  visit: Visit,
): Promise<void> {
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const visitAll = (digests: Uint8Array): void => {
    for (let at = 0; at < digests.length; at += digestSize) visit(digests, at);
  };
  if (own !== undefined && fits(own, parameters)) return visitAll(own.digests);
  const { hasher, signal, onProgress } = options;
  await inOrder(
    batchesOf(data, options),
    (batch) => hasher.hashBlocks(batch, parameters),
    (digests, batch) => {
      signal?.throwIfAborted();
      onProgress?.(batch.length);
      visitAll(digests);
    },
  );
}

async function* batchesOf(data: Source, options: ReadOptions): AsyncGenerator<Uint8Array> {
  const size = BATCH_BLOCKS * UPDATE_BLOCK_SIZE;
  for (let at = 0; at < data.size; at += size) {
    const bytes = await data.read(at, Math.min(size, data.size - at), options);
    if (bytes.length % UPDATE_BLOCK_SIZE === 0) yield bytes;
    else {
      const padded = new Uint8Array(Math.ceil(bytes.length / UPDATE_BLOCK_SIZE) * UPDATE_BLOCK_SIZE);
      padded.set(bytes);
      yield padded;
    }
  }
}

/** Contents in whole blocks, the last one of a file filled up with zeros, as they lie in an image. */
async function forEachContentBlock(
  files: Iterable<RegularFile>,
  parameters: BlockHashParameters,
  options: BlockOptions,
  visit: (file: RegularFile, digests: Uint8Array, at: number) => void,
): Promise<void> {
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const { hasher, signal, onProgress } = options;
  interface Batch {
    readonly bytes: Uint8Array;
    readonly owners: readonly RegularFile[];
  }
  // Blocks of many small files go together: each call of the hasher is a round trip to another thread.
  async function* batches(): AsyncGenerator<Batch> {
    let bytes = new Uint8Array(BATCH_BLOCKS * UPDATE_BLOCK_SIZE);
    let owners: RegularFile[] = [];
    for (const file of files) {
      const { content } = file;
      for (let at = 0; at < content.size; ) {
        const room = (BATCH_BLOCKS - owners.length) * UPDATE_BLOCK_SIZE;
        const length = Math.min(room, content.size - at);
        bytes.set(await content.read(at, length, options), owners.length * UPDATE_BLOCK_SIZE);
        const blocks = Math.ceil(length / UPDATE_BLOCK_SIZE);
        for (let i = 0; i < blocks; i++) owners.push(file);
        at += length;
        if (owners.length === BATCH_BLOCKS) {
          yield { bytes, owners };
          bytes = new Uint8Array(BATCH_BLOCKS * UPDATE_BLOCK_SIZE);
          owners = [];
        }
      }
    }
    if (owners.length > 0) yield { bytes: bytes.subarray(0, owners.length * UPDATE_BLOCK_SIZE), owners };
  }
  await inOrder(
    batches(),
    ({ bytes }) => hasher.hashBlocks(bytes, parameters),
    (digests, { owners }) => {
      signal?.throwIfAborted();
      onProgress?.(owners.length * UPDATE_BLOCK_SIZE);
      for (const [index, file] of owners.entries()) visit(file, digests, index * digestSize);
    },
  );
}

/** Works on up to {@link MAX_BATCHES} items at a time; results come in the order of the items. */
async function inOrder<T>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<Uint8Array>,
  take: (result: Uint8Array, item: T) => void,
): Promise<void> {
  const queue: { readonly item: T; readonly result: Promise<Uint8Array> }[] = [];
  async function takeFirst(): Promise<void> {
    const first = queue.shift();
    if (first !== undefined) take(await first.result, first.item);
  }
  for await (const item of items) {
    const result = work(item);
    result.catch(() => {}); // seen when its turn comes, or not needed any more
    queue.push({ item, result });
    if (queue.length >= MAX_BATCHES) await takeFirst();
  }
  while (queue.length > 0) await takeFirst();
}
