/** A root in a repository as two sources, data device and hash device, read in place by ranges. */
import { concatBytes, fromHex } from "../../bytes/index.ts";
import { IntegrityError } from "../../errors/index.ts";
import { readBlob } from "../../formats/oci/index.ts";
import {
  encodeVeritySuperblock,
  layoutHashTree,
  type VeritySuperblock,
  verifiedSource,
} from "../../formats/verity/index.ts";
import { type BlockHasher, DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import { assertRange, bytesSource, piecewiseSource, type ReadOptions, type Source } from "../../source/index.ts";
import type { DecompressFrame } from "../environment.ts";
import { type FrameCache, frameCache } from "./frame-cache.ts";
import { growingCache } from "./growing-cache.ts";
import { readLeaves, runsOf, type StoredRoot, zeroDigest } from "./stored-root.ts";

export interface RootSourceEnvironment {
  readonly hashes: Hashes;
  readonly blockHasher: BlockHasher;
  readonly decompressFrame: DecompressFrame;
}

export interface RootSources {
  /** Every block is held against the root hash before it is handed out. */
  readonly data: Source;
  /** As `ashlar build` wrote it. Its blocks are checked when `data` is read, or by whoever reads it. */
  readonly hashDevice: Source;
}

/** Of the lowest level of the hash tree: the digests of 2 MiB of data at first, of 64 MiB where reads go forward; 4 MiB are kept. */
const LEAVES_CACHE = { blockSize: 16 * 1024, maxReach: 32, capacity: 256 };

/** Errors of reads: those of the repository, IntegrityError `damaged-pack`, `verity-mismatch`. */
export async function rootSources(root: StoredRoot, environment: RootSourceEnvironment): Promise<RootSources> {
  const { blockHasher } = environment;
  const { release } = root;
  const superblock: VeritySuperblock = { ...root.verity, uuid: release.verity.uuid, dataBlocks: root.recipe.blocks };
  const hashDevice = await hashDeviceSource(root, superblock, environment);
  const data = rootDataSource(root, environment.decompressFrame);
  const rootHash = fromHex(release.rootHash);
  return { data: await verifiedSource(data, hashDevice, rootHash, { hasher: blockHasher, superblock }), hashDevice };
}

export interface RootData extends Source {
  /** The blocks of a frame that was fetched already and is still there. */
  readonly peek: FrameCache["peek"];
}

/** The data device, put together from frames; nothing of it is verified. */
export function rootDataSource(root: StoredRoot, decompressFrame: DecompressFrame): RootData {
  const { blocks, parameters } = root.recipe;
  const { blockSize } = parameters;
  const frames = frameCache(root, decompressFrame);
  const size = blocks * blockSize;
  return {
    size,
    peek: frames.peek,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      const whole = new Uint8Array(length);
      if (length === 0) return whole;
      const first = Math.floor(offset / blockSize);
      const last = Math.floor((offset + length - 1) / blockSize);
      const runs = [...runsOf(root.recipe, first, last - first + 1)].filter(({ pack }) => pack !== undefined);
      await Promise.all(
        runs.map(async ({ pack, start, count, first: place }) => {
          await frames.read(pack!, place, count, options, (block, bytes) => {
            // Only a part of the first and last block may be asked for.
            const at = (start + block - place) * blockSize;
            const from = Math.max(offset, at);
            const to = Math.min(offset + length, at + bytes.length);
            if (from < to) whole.set(bytes.subarray(from - at, to - at), from - offset);
          });
        }),
      );
      return whole;
    },
  };
}

/** Superblock and upper levels are there at once, the lowest level is put together from leaf digests when it is read. */
async function hashDeviceSource(
  root: StoredRoot,
  superblock: VeritySuperblock,
  { hashes, blockHasher }: RootSourceEnvironment,
): Promise<Source> {
  const { hashBlockSize, dataBlocks, algorithm } = superblock;
  const { levels, size } = layoutHashTree(dataBlocks, superblock);
  const head = new Uint8Array(hashBlockSize);
  head.set(encodeVeritySuperblock(superblock));
  const [lowest, ...upper] = levels;
  if (lowest === undefined) return bytesSource(head);
  const upperSize = upper.reduce((sum, { blocks }) => sum + blocks, 0) * hashBlockSize;
  const tree = upperSize === 0 ? new Uint8Array(0) : await readTreeLevels(root, upperSize, hashes);
  const zero = await zeroDigest(root, blockHasher);
  const digestSize = DIGEST_SIZES[algorithm];
  const leavesSize = dataBlocks * digestSize;
  const leaves: Source = {
    size: leavesSize,
    read: (offset, length, options) => readLeaves(root, offset / digestSize, length / digestSize, zero, options), // reads of the cache are aligned
  };
  return piecewiseSource(size, [
    { at: 0, source: bytesSource(concatBytes(head, tree)) },
    {
      at: lowest.firstBlock * hashBlockSize,
      source: growingCache(leaves, LEAVES_CACHE),
    },
  ]);
}

async function readTreeLevels(
  { repository, manifest }: StoredRoot,
  size: number,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const { tree } = manifest;
  const what = `${repository.name}: hash tree ${tree?.digest ?? ""}`;
  if (tree === undefined || tree.size !== size)
    throw new IntegrityError("tree-size", `${what}: has ${tree?.size ?? 0} bytes, the release needs ${size}`, {
      expected: size,
      actual: tree?.size ?? 0,
    });
  return readBlob(repository, tree, hashes, what, { ...options, limit: size });
}
