/** What fixes a hash tree, and where each of its blocks lies: pure arithmetic. */
import { isPowerOfTwo } from "../../bytes/index.ts";
import { type BlockHashParameters, DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import { MAX_BLOCK_SIZE, MAX_SALT_SIZE, MIN_BLOCK_SIZE } from "./format.ts";

/** Everything but the data that the root hash depends on. */
export interface VerityParameters {
  readonly algorithm: HashAlgorithm;
  /** Bytes, a power of two in 512 … 512 KiB. */
  readonly dataBlockSize: number;
  /** Bytes, a power of two in 512 … 512 KiB. */
  readonly hashBlockSize: number;
  /** 0 … 256 bytes. */
  readonly salt: Uint8Array;
}

/** One level of the tree: hash blocks that stand next to each other on the hash device. */
export interface TreeLevel {
  /** Hash blocks from the start of the hash device. */
  readonly firstBlock: number;
  /** Hash blocks. */
  readonly blocks: number;
}

export interface TreeLayout {
  /** Level 0 holds the digests of data blocks; the last level is one block, whose digest is the root hash. Empty for one data block. */
  readonly levels: readonly TreeLevel[];
  /** Digests in a full hash block. */
  readonly digestsPerBlock: number;
  /** Bytes of the hash device, superblock included. */
  readonly size: number;
}

export function isBlockSize(size: number): boolean {
  return size >= MIN_BLOCK_SIZE && size <= MAX_BLOCK_SIZE && isPowerOfTwo(size);
}

/** Throws RangeError for block sizes, a salt or a block count that no hash device can have. */
export function assertVerityParameters(parameters: VerityParameters, dataBlocks = 1): void {
  const { algorithm, dataBlockSize, hashBlockSize, salt } = parameters;
  if (!Object.hasOwn(DIGEST_SIZES, algorithm))
    throw new RangeError(`not a hash algorithm of dm-verity here: ${algorithm}`);
  for (const [what, size] of Object.entries({ dataBlockSize, hashBlockSize }))
    if (!isBlockSize(size)) throw new RangeError(`${what} ${size} is not a power of two in 512 B … 512 KiB`);
  if (salt.length > MAX_SALT_SIZE) throw new RangeError(`salt of ${salt.length} bytes, at most ${MAX_SALT_SIZE} fit`);
  if (!Number.isSafeInteger(dataBlocks) || dataBlocks < 1 || !Number.isSafeInteger(dataBlocks * dataBlockSize))
    throw new RangeError(`a hash tree over ${dataBlocks} data blocks cannot be made`);
}

/**
 * Places the levels: the superblock has hash block 0, then the top level, and level 0 last.
 * Hash type 1 lays digests at power-of-two distances; SHA-256 and SHA-512 digests are powers of two themselves, so that
 * they stand without gaps and fill every full block. Throws RangeError like {@link assertVerityParameters}.
 */
export function layoutHashTree(dataBlocks: number, parameters: VerityParameters): TreeLayout {
  assertVerityParameters(parameters, dataBlocks);
  const digestsPerBlock = parameters.hashBlockSize / DIGEST_SIZES[parameters.algorithm];
  const sizes: number[] = [];
  for (let below = dataBlocks; below > 1; ) {
    below = Math.ceil(below / digestsPerBlock);
    sizes.push(below);
  }
  const levels: TreeLevel[] = [];
  let next = 1; // block 0 is the superblock's
  for (const blocks of sizes.reverse()) {
    levels.unshift({ firstBlock: next, blocks });
    next += blocks;
  }
  return { levels, digestsPerBlock, size: next * parameters.hashBlockSize };
}

/** Bytes of the hash device for `dataBlocks` blocks of data, superblock included. Throws RangeError as {@link layoutHashTree}. */
export function hashDeviceSize(dataBlocks: number, parameters: VerityParameters): number {
  return layoutHashTree(dataBlocks, parameters).size;
}

export function dataBlockHash({ algorithm, salt, dataBlockSize }: VerityParameters): BlockHashParameters {
  return { algorithm, salt, blockSize: dataBlockSize };
}

export function hashBlockHash({ algorithm, salt, hashBlockSize }: VerityParameters): BlockHashParameters {
  return { algorithm, salt, blockSize: hashBlockSize };
}

/** Whether the digest at `aAt` of `a` is the one at `bAt` of `b`. */
export function sameDigest(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, size: number): boolean {
  for (let i = 0; i < size; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
