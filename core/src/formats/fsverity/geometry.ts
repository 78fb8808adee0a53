/** What fixes the digest of a file besides its bytes, and where each level of its Merkle tree lies: pure arithmetic. */
import { alignUp, isPowerOfTwo } from "../../bytes/index.ts";
import { type BlockHashParameters, DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import { HASH_STEP_SIZES, MAX_BLOCK_SIZE, MAX_SALT_SIZE, MIN_BLOCK_SIZE } from "./format.ts";

/** Everything but the data that the digest depends on. Block size: a power of two in 1 KiB … 64 KiB; salt: up to 32 bytes. */
export type FsverityParameters = BlockHashParameters;

const NO_SALT = /* @__PURE__ */ new Uint8Array(0);

/** What the kernel, composefs and bootc use unless told otherwise: blocks of 4 KiB and no salt. */
export function defaultFsverity(algorithm: HashAlgorithm = "sha256"): FsverityParameters {
  return { algorithm, blockSize: 4096, salt: NO_SALT };
}

/** Throws RangeError for an algorithm, block size or salt that no fs-verity file can have. */
export function assertFsverityParameters({ algorithm, blockSize, salt }: FsverityParameters): void {
  if (!Object.hasOwn(DIGEST_SIZES, algorithm)) throw new RangeError(`not a hash algorithm of fs-verity: ${algorithm}`);
  if (blockSize < MIN_BLOCK_SIZE || blockSize > MAX_BLOCK_SIZE || !isPowerOfTwo(blockSize))
    throw new RangeError(`block size ${blockSize} is not a power of two in 1 KiB … 64 KiB`);
  if (salt.length > MAX_SALT_SIZE) throw new RangeError(`salt of ${salt.length} bytes, at most ${MAX_SALT_SIZE} fit`);
}

/** How blocks of the file and of the tree are hashed: the salt fills whole steps of the hash function. */
export function blockHash({ algorithm, blockSize, salt }: FsverityParameters): BlockHashParameters {
  const padded = new Uint8Array(alignUp(salt.length, HASH_STEP_SIZES[algorithm]));
  padded.set(salt);
  return { algorithm, blockSize, salt: padded };
}

export interface MerkleLevel {
  /** Bytes from the start of the tree. */
  readonly offset: number;
  readonly blocks: number;
}

export interface MerkleLayout {
  /** Level 0 holds the digests of the file's blocks. Empty for a file of at most one block. */
  readonly levels: readonly MerkleLevel[];
  /** Bytes. */
  readonly size: number;
}

/** The tree as `fsverity digest --out-merkle-tree` and the kernel lay it out: the top level first, level 0 last. */
export function layoutMerkleTree(dataSize: number, { algorithm, blockSize }: FsverityParameters): MerkleLayout {
  const perBlock = blockSize / DIGEST_SIZES[algorithm];
  const counts: number[] = [];
  for (let below = Math.ceil(dataSize / blockSize); below > 1; ) {
    below = Math.ceil(below / perBlock);
    counts.push(below);
  }
  const levels: MerkleLevel[] = [];
  let offset = 0;
  for (const blocks of counts.reverse()) {
    levels.unshift({ offset, blocks });
    offset += blocks * blockSize;
  }
  return { levels, size: offset };
}
