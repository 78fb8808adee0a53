/** A release as it is put onto a disk, wherever it comes from: files beside release.json, or a repository. */
import { fromHex } from "../../bytes/index.ts";
import { IntegrityError, isAshlarError } from "../../errors/index.ts";
import type { ClosableSource } from "../../formats/oci/index.ts";
import { parseRecipe, type Recipe } from "../../formats/pack/index.ts";
import { buildHashTree, type HashTree, layoutHashTree } from "../../formats/verity/index.ts";
import { assertDigest, type BlockHasher, DIGEST_SIZES, type Digest } from "../../hash/index.ts";
import { fillFrom, type RandomSink, type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import type { CompressContent, DecompressFrame, Environment } from "../environment.ts";
import {
  assertRootHash,
  type ForwardOptions,
  fetchBlocks,
  fetchRoot,
  guessRecipe,
  type KnownRoot,
  type ReleaseFiles,
  type RootData,
  readVerifiedTree,
  rootDataSource,
  type StoredRelease,
  verityOf,
  zeroDigest,
} from "../publish/index.ts";
import { digestSource } from "../release/describe.ts";
import { type ArtifactRole, artifactOf, type Release } from "../release/release.ts";
import { bringTo, type Device } from "./device.ts";

/** Bytes of a root that are read and checked at once. */
const CHUNK_SIZE = 1024 * 1024;

export interface VerifiedTree {
  /** Digests of all blocks of the root. */
  readonly leaves: Uint8Array;
  /** Made from them; it has the root hash of the release. */
  readonly tree: HashTree;
}

/** What was done to write a root. */
export interface WrittenRoot {
  /** Bytes that were on the disk already. */
  readonly kept: number;
  /** Bytes that came from a repository for it, as they are stored there. */
  readonly fetched: number;
}

export interface ReleaseContent {
  readonly name: string;
  readonly release: Release;
  /** What a device keeps of the release for its next update; undefined where that is nothing. */
  readonly recipe: Uint8Array | undefined;
  /** Throws IntegrityError `root-hash-mismatch`. */
  readTree(options: ReadTreeOptions): Promise<VerifiedTree>;
  /**
   * Makes `device` hold the root from byte `at` on. Every block is held against `leaves` before it is written. Throws
   * IntegrityError `verity-mismatch`.
   */
  writeRoot(tree: VerifiedTree, device: Device, at: number): Promise<WrittenRoot>;
  /**
   * Writes the blocks of the root that are not there, at their places in the root. Each is held against `leaves` before.
   * Returns the bytes that came from a repository. Throws IntegrityError `verity-mismatch`.
   * @param there for each block of the root 1 where it is right already
   */
  fillRoot(tree: VerifiedTree, there: Uint8Array, target: RandomSink): Promise<number>;
  /** The root where the release is; blocks are read when they are asked for, and are not verified but by the reader. */
  openRoot(): Promise<ClosableSource>;
  /** The disk as it was built, verified: what stands on its ESP is taken from there. */
  openDisk(): Promise<ClosableSource>;
  /** The UKI, read once and front to back, and not verified but by the reader. */
  openUki(options: ForwardOptions): Promise<ClosableSource>;
}

/** A root in a slot of the device. */
export interface LocalRoot {
  /** Digests of its blocks as the hash device has them; not verified. */
  readonly leaves: Source;
  /** As an earlier update left it; undefined where there is none. */
  readonly recipe: Uint8Array | undefined;
}

export interface ReadTreeOptions extends ReadOptions {
  /** Digests of blocks that are in one of these are taken from there. */
  readonly localRoots?: readonly LocalRoot[] | undefined;
}

export type ContentEnvironment = Pick<Environment, "hashes" | "blockHasher" | "reporter" | "signal"> & {
  readonly decompressFrame: DecompressFrame;
  /** An initrd is made from files of the new root with it; without, it is fetched. */
  readonly compressContent?: CompressContent | undefined;
};

/** The entry of an artifact that every system has; `assertSystem` of install.ts has seen to it. */
function entryOf(release: Release, role: ArtifactRole): Release["artifacts"][number] {
  return artifactOf(release, role)!;
}

/** A release as files, such as `ashlar build` and `ashlar pull` write them. */
export function fileContent(files: ReleaseFiles, environment: ContentEnvironment): ReleaseContent {
  const { release } = files;
  const { hashes, blockHasher, reporter, signal } = environment;

  async function openArtifact(role: ArtifactRole): Promise<ClosableSource> {
    const { name, size } = entryOf(release, role);
    const source = await files.open(name);
    if (source.size === size) return source;
    await source.close();
    throw new IntegrityError("size-mismatch", `${name} has ${source.size} bytes, the release says ${size}`, {
      expected: size,
      actual: source.size,
    });
  }

  async function withArtifact<T>(role: ArtifactRole, work: (source: Source) => Promise<T>): Promise<T> {
    const source = await openArtifact(role);
    try {
      return await work(source);
    } finally {
      await source.close();
    }
  }

  return {
    name: files.name,
    release,
    recipe: undefined,
    readTree: (options) =>
      withArtifact("root-verity", async (hashDevice) => {
        const leaves = await readLowestLevel(hashDevice, release, options);
        const tree = await buildHashTree(leaves, verityOf(release), blockHasher);
        assertRootHash(tree.rootHash, release, entryOf(release, "root-verity").name);
        return { leaves, tree };
      }),
    writeRoot: ({ leaves }, device, at) =>
      withArtifact("root", async (root) => {
        const task = reporter.start("writing the root", root.size);
        const checked = checkedRoot(root, leaves, release, blockHasher, entryOf(release, "root").name);
        const written = await bringTo(device, at, checked, { signal, onProgress: task.advance });
        task.end();
        return { kept: root.size - written, fetched: 0 };
      }),
    fillRoot: ({ leaves }, there, target) =>
      withArtifact("root", async (root) => {
        const { blockSize, dataBlocks } = { blockSize: release.verity.dataBlockSize, dataBlocks: there.length };
        const most = Math.max(1, Math.floor(CHUNK_SIZE / blockSize));
        const task = reporter.start("writing the root", root.size);
        const checked = checkedRoot(root, leaves, release, blockHasher, entryOf(release, "root").name);
        for (let block = 0; block < dataBlocks; ) {
          let count = 1;
          const isThere = there[block] === 1;
          while (block + count < dataBlocks && count < most && (there[block + count] === 1) === isThere) count++;
          if (!isThere) {
            const bytes = await checked.read(block * blockSize, count * blockSize, { signal });
            await target.writeAt(block * blockSize, bytes);
          }
          task.advance(count * blockSize);
          block += count;
        }
        task.end();
        return 0;
      }),
    async openDisk() {
      const disk = await openArtifact("disk");
      const { name, digest } = entryOf(release, "disk");
      try {
        await assertArtifact(disk, name, digest, "checking the disk image", { hashes, reporter, signal });
        return disk;
      } catch (error) {
        await disk.close();
        throw error;
      }
    },
    openRoot: () => openArtifact("root"),
    openUki: () => openArtifact("uki"),
  };
}

async function assertArtifact(
  source: Source,
  name: string,
  digest: string,
  title: string,
  { hashes, reporter, signal }: Pick<Environment, "hashes" | "reporter" | "signal">,
): Promise<void> {
  const task = reporter.start(title, source.size);
  const actual = await digestSource(source, hashes, { signal, onProgress: task.advance });
  task.end();
  assertDigest(actual, digest as Digest, name);
}

/** The leaf digests from a hash device, which are right if the tree over them has the root hash. */
async function readLowestLevel(hashDevice: Source, release: Release, options: ReadOptions): Promise<Uint8Array> {
  const parameters = verityOf(release);
  const { dataBlocks } = release.verity;
  const [lowest] = layoutHashTree(dataBlocks, parameters).levels;
  if (lowest === undefined) return fromHex(release.rootHash);
  const size = dataBlocks * DIGEST_SIZES[parameters.algorithm];
  const leaves = sliceSource(hashDevice, lowest.firstBlock * parameters.hashBlockSize, size);
  return leaves.read(0, size, options);
}

/** A root that is read in whole blocks, each held against its digest when it is read. */
function checkedRoot(root: Source, leaves: Uint8Array, release: Release, hasher: BlockHasher, what: string): Source {
  const { algorithm, salt, dataBlockSize: blockSize } = verityOf(release);
  const size = DIGEST_SIZES[algorithm];

  async function check(offset: number, blocks: Uint8Array): Promise<void> {
    const digests = await hasher.hashBlocks(blocks, { algorithm, salt, blockSize });
    const start = (offset / blockSize) * size;
    for (let i = 0; i < digests.length; i++)
      if (digests[i] !== leaves[start + i]) {
        const at = offset + Math.floor(i / size) * blockSize;
        throw new IntegrityError("verity-mismatch", `${what}: the block at byte ${at} does not match the hash tree`, {
          path: what,
          offset: at,
        });
      }
  }
  return {
    size: root.size,
    async read(offset, length, options) {
      const blocks = await root.read(offset, length, options);
      await check(offset, blocks);
      return blocks;
    },
    async readInto(offset, target) {
      await fillFrom(root, offset, target);
      await check(offset, target);
    },
  };
}

/** A release in a repository. Frames go from there to the disk; a kernel and an initrd too, in one pass. */
export function storedContent(stored: StoredRelease, environment: ContentEnvironment): ReleaseContent {
  const { release, root } = stored;
  const { blockHasher, decompressFrame, reporter, signal } = environment;
  let reading: RootData | undefined; // remembers frames, which fillRoot need not fetch again
  return {
    name: stored.name,
    release,
    recipe: root.recipeBytes,
    async readTree({ signal: stop, localRoots = [] }) {
      const zero = await zeroDigest(root, blockHasher);
      const known: KnownRoot[] = [];
      for (const { leaves, recipe } of localRoots) {
        const parsed = recipe === undefined ? undefined : recipeOf(recipe, leaves, release);
        const found = parsed ?? (await guessRecipe(leaves, zero, root.recipe));
        if (found !== undefined) known.push({ recipe: found, leaves });
      }
      return readVerifiedTree(root, blockHasher, { signal: stop, known });
    },
    async writeRoot({ leaves }, device, at) {
      const { blockSize } = root.recipe.parameters;
      const slot = sliceSource(device, at, root.recipe.blocks * blockSize);
      const looking = reporter.start("looking at what is there", slot.size);
      const left: Source = {
        size: slot.size,
        read(offset, length, options) {
          looking.advance(length);
          return slot.read(offset, length, options);
        },
        readInto(offset, target) {
          looking.advance(target.length);
          return fillFrom(slot, offset, target);
        },
        dataFrom: (offset) => Math.min(slot.size, (device.dataFrom?.(at + offset) ?? at + offset) - at),
      };
      let task: ReturnType<typeof reporter.start> | undefined;
      const { fetched, kept } = await fetchRoot(
        root,
        leaves,
        { writeAt: (offset, bytes) => device.writeAt(at + offset, bytes) },
        {
          blockHasher,
          decompressFrame,
          signal,
          left,
          onStart(total) {
            looking.end();
            task = reporter.start("fetching the root", total);
          },
          onProgress: (amount) => task?.advance(amount),
        },
      );
      task?.end();
      return { fetched, kept: kept * blockSize };
    },
    openDisk: () => stored.open(entryOf(release, "disk").name),
    async fillRoot({ leaves }, there, target) {
      let task: ReturnType<typeof reporter.start> | undefined;
      const onStart = (total: number) => {
        task = reporter.start("fetching the root", total);
      };
      const onProgress = (amount: number) => task?.advance(amount);
      const options = { blockHasher, decompressFrame, signal, peek: reading?.peek, onStart, onProgress };
      const fetched = await fetchBlocks(root, leaves, there, target, options);
      reading = undefined;
      task?.end();
      return fetched;
    },
    async openRoot() {
      reading ??= rootDataSource(root, decompressFrame);
      return { ...reading, close: async () => {} };
    },
    openUki: (options) => stored.openForward(entryOf(release, "uki").name, options),
  };
}

/** What a file of the device says is used only where it can be; a wrong one costs no more than none. */
function recipeOf(bytes: Uint8Array, leaves: Source, { verity }: Release): Recipe | undefined {
  try {
    const recipe = parseRecipe(bytes, "a recipe of the device");
    return recipe.blocks * DIGEST_SIZES[verity.algorithm] === leaves.size ? recipe : undefined;
  } catch (error) {
    if (isAshlarError(error)) return undefined;
    throw error;
  }
}
