/** dm-verity in user space: a source of which every block is checked before it is handed out. */
import { toHex } from "../../bytes/index.ts";
import { IntegrityError } from "../../errors/index.ts";
import { type BlockHasher, DIGEST_SIZES } from "../../hash/index.ts";
import { assertRange, type ReadOptions, type Source } from "../../source/index.ts";
import { dataBlockHash, hashBlockHash, layoutHashTree, sameDigest } from "./geometry.ts";
import { readVeritySuperblock, type VeritySuperblock } from "./read.ts";

/** Bytes of checked hash blocks that are remembered: enough for the upper levels and 1 GiB of data around the last reads. */
const DEFAULT_CACHE_SIZE = 8 * 1024 * 1024;

export interface VerifiedSourceOptions {
  readonly hasher: BlockHasher;
  /**
   * What the superblock must say, where the caller knows it (from a signed description). The one on the device is not
   * read then. Without it a forged superblock can still make the device look shorter, or make hash blocks look like data;
   * it can never bring in bytes that are not under the root hash.
   */
  readonly superblock?: VeritySuperblock | undefined;
  /** Bytes; 8 MiB where absent. */
  readonly cacheSize?: number | undefined;
}

/** Throws IntegrityError `verity-root-hash` or `verity-size` where root hash, superblock and devices cannot belong together. */
export function assertDevicesFit(
  data: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  superblock: VeritySuperblock,
): void {
  if (rootHash.length !== DIGEST_SIZES[superblock.algorithm])
    throw new IntegrityError(
      "verity-root-hash",
      `root hash has ${rootHash.length} bytes, the hash device is made with ${superblock.algorithm}`,
      { expected: DIGEST_SIZES[superblock.algorithm], actual: rootHash.length },
    );
  const dataSize = superblock.dataBlocks * superblock.dataBlockSize;
  const hashSize = layoutHashTree(superblock.dataBlocks, superblock).size;
  for (const [what, source, expected] of [
    ["data device", data, dataSize],
    ["hash device", hashDevice, hashSize],
  ] as const)
    if (source.size < expected)
      throw new IntegrityError("verity-size", `verity ${what} has ${source.size} bytes, ${expected} are needed`, {
        expected,
        actual: source.size,
      });
}

/**
 * The data device as the kernel would show it. Lazy: a read checks the blocks it touches, along the path from the root
 * hash; checked hash blocks are remembered, least recently used go first. The result ends where the data ends.
 *
 * Opening throws as `readVeritySuperblock` and {@link assertDevicesFit}; a read throws IntegrityError `verity-mismatch`,
 * which names the block, its level and its place.
 */
export async function verifiedSource(
  data: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  options: VerifiedSourceOptions,
): Promise<Source> {
  const { hasher } = options;
  const superblock = options.superblock ?? (await readVeritySuperblock(hashDevice));
  assertDevicesFit(data, hashDevice, rootHash, superblock);
  const { dataBlockSize, hashBlockSize, dataBlocks } = superblock;
  const root = new Uint8Array(rootHash);
  const { levels, digestsPerBlock } = layoutHashTree(dataBlocks, superblock);
  const digestSize = DIGEST_SIZES[superblock.algorithm];
  const capacity = Math.max(levels.length, Math.floor((options.cacheSize ?? DEFAULT_CACHE_SIZE) / hashBlockSize));
  const known = new Map<number, Promise<Uint8Array>>(); // by hash block number, in order of last use

  async function loadHashBlock(level: number, index: number, block: number): Promise<Uint8Array> {
    const offset = block * hashBlockSize;
    const bytes = new Uint8Array(await hashDevice.read(offset, hashBlockSize)); // kept, so copied; a Buffer's slice() would not
    const actual = await hasher.hashBlocks(bytes, hashBlockHash(superblock));
    const above = await digestHolder(level + 1, index);
    if (!sameDigest(actual, 0, above.bytes, above.at, digestSize))
      throw mismatch(`hash block ${block} (level ${level})`, offset, above.bytes, above.at, actual, 0);
    return bytes;
  }

  function hashBlock(level: number, index: number): Promise<Uint8Array> {
    const block = levels[level]!.firstBlock + index; // callers stay below levels.length
    let bytes = known.get(block);
    if (bytes !== undefined) known.delete(block);
    else {
      bytes = loadHashBlock(level, index, block); // shared by callers, so no caller's signal goes in
      bytes.catch(() => known.delete(block)); // a failure is not remembered
    }
    known.set(block, bytes);
    if (known.size > capacity) known.delete(known.keys().next().value!); // not empty
    return bytes;
  }

  /** Where the digest of block `index` of the level below `level` stands. */
  async function digestHolder(level: number, index: number): Promise<{ bytes: Uint8Array; at: number }> {
    if (level === levels.length) return { bytes: root, at: 0 };
    const bytes = await hashBlock(level, Math.floor(index / digestsPerBlock));
    return { bytes, at: (index % digestsPerBlock) * digestSize };
  }

  function mismatch(what: string, offset: number, a: Uint8Array, aAt: number, b: Uint8Array, bAt: number) {
    return new IntegrityError("verity-mismatch", `verity: ${what} at byte ${offset} does not match the hash tree`, {
      offset,
      expected: toHex(a.subarray(aAt, aAt + digestSize)),
      actual: toHex(b.subarray(bAt, bAt + digestSize)),
    });
  }

  return {
    size: dataBlocks * dataBlockSize,
    async read(offset: number, length: number, readOptions?: ReadOptions) {
      assertRange(offset, length, dataBlocks * dataBlockSize);
      if (length === 0) return new Uint8Array(0);
      const first = Math.floor(offset / dataBlockSize);
      const last = Math.floor((offset + length - 1) / dataBlockSize);
      const start = first * dataBlockSize;
      const bytes = await data.read(start, (last - first + 1) * dataBlockSize, readOptions);
      const actual = await hasher.hashBlocks(bytes, dataBlockHash(superblock));
      for (let block = first; block <= last; ) {
        const holder = await digestHolder(0, block);
        // All blocks whose digests stand in the same hash block.
        const end = levels.length === 0 ? block + 1 : block - (block % digestsPerBlock) + digestsPerBlock;
        for (let at = holder.at; block <= last && block < end; block++, at += digestSize)
          if (!sameDigest(actual, (block - first) * digestSize, holder.bytes, at, digestSize))
            throw mismatch(
              `data block ${block}`,
              block * dataBlockSize,
              holder.bytes,
              at,
              actual,
              (block - first) * digestSize,
            );
      }
      return bytes.subarray(offset - start, offset - start + length);
    },
  };
}
