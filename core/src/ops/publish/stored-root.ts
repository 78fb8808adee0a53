/** The parts of a root in a repository: recipe, packs, leaf digests, hash tree. Opened when they are needed. */
import { equalBytes, fromHex, toHex } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError } from "../../errors/index.ts";
import { type ClosableSource, type Repository, readBlob } from "../../formats/oci/index.ts";
import { MAX_RECIPE_SIZE, openPack, type Pack, parseRecipe, type Recipe } from "../../formats/pack/index.ts";
import { buildTreeOver, emptyLeafLevel, type HashTree, type VerityParameters } from "../../formats/verity/index.ts";
import { type BlockHasher, DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import { fillFrom, type ReadOptions, type Source } from "../../source/index.ts";
import type { Release } from "../release/release.ts";
import { asDamage } from "./damage.ts";
import { type KnownRoot, knownLeaves } from "./known-leaves.ts";
import type { ReleaseManifest } from "./manifest.ts";
import { readRanges } from "./ranges.ts";

/** Leaf digests that are read as one range. */
const MAX_LEAVES = 64 * 1024;

export interface StoredPack {
  readonly pack: Pack;
  readonly source: ClosableSource;
}

/** A root as a repository has it. Nothing of it is verified but that its documents are those of the manifest. */
export interface StoredRoot {
  readonly repository: Repository;
  readonly manifest: ReleaseManifest;
  readonly release: Release;
  readonly verity: VerityParameters;
  readonly recipe: Recipe;
  /** As they are stored; a device keeps them for its next update. */
  readonly recipeBytes: Uint8Array;
  /** Errors name packs so. */
  packName(index: number): string;
  /** One range is read the first time. */
  openPack(index: number): Promise<StoredPack>;
  close(): Promise<void>;
}

export function verityOf({ verity }: Release): VerityParameters {
  return { ...verity, salt: fromHex(verity.salt) };
}

/**
 * Reads the recipe and holds it against manifest and release. Errors: those of {@link readBlob} and of the recipe;
 * FormatError `bad-recipe` where recipe, manifest and release are not about the same root.
 */
export async function openStoredRoot(
  repository: Repository,
  manifest: ReleaseManifest,
  release: Release,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<StoredRoot> {
  const what = `${repository.name}: recipe ${manifest.recipe.digest}`;
  const limit = MAX_RECIPE_SIZE;
  const recipeBytes = await readBlob(repository, manifest.recipe, hashes, what, { ...options, limit });
  const recipe = parseRecipe(recipeBytes, what);
  const verity = verityOf(release);
  assertSameRoot(recipe, verity, release, manifest, what);
  const opened = new Map<number, Promise<StoredPack>>();
  const packName = (index: number) => `${repository.name}: pack ${recipe.packs[index]?.digest}`;

  async function open(index: number): Promise<StoredPack> {
    const reference = recipe.packs[index]!; // runs name packs of the list
    const descriptor = manifest.packs.find(({ digest }) => digest === reference.digest)!; // checked when opening
    const source = await repository.openBlob(descriptor, options);
    const { blocks, frameScale, filter } = reference;
    const shape = { parameters: recipe.parameters, blocks, frameScale, filter };
    const pack = await openPack(source, shape, packName(index), options).catch((error: unknown) => {
      throw asDamage(error);
    });
    return { pack, source };
  }
  return {
    repository,
    manifest,
    release,
    verity,
    recipe,
    recipeBytes,
    packName,
    openPack(index) {
      const known = opened.get(index);
      if (known !== undefined) return known;
      const pack = open(index);
      opened.set(index, pack);
      pack.catch(() => opened.delete(index)); // a failure is not remembered
      return pack;
    },
    async close() {
      for (const pack of opened.values()) await (await pack.catch(() => undefined))?.source.close();
      opened.clear();
    },
  };
}

function assertSameRoot(
  recipe: Recipe,
  verity: VerityParameters,
  release: Release,
  manifest: ReleaseManifest,
  what: string,
): void {
  const { parameters } = recipe;
  const fail = (message: string): never => {
    throw new FormatError("bad-recipe", `${what}: ${message}`, { path: what });
  };
  if (
    parameters.algorithm !== verity.algorithm ||
    parameters.blockSize !== verity.dataBlockSize ||
    !equalBytes(parameters.salt, verity.salt)
  )
    fail("is for a hash tree with other parameters than the release has");
  if (recipe.blocks !== release.verity.dataBlocks)
    fail(`is of ${recipe.blocks} blocks, the release has ${release.verity.dataBlocks}`);
  for (const { digest, size } of recipe.packs) {
    const layer = manifest.packs.find((pack) => pack.digest === digest);
    if (layer?.size !== size) fail(`refers to pack ${digest} of ${size} bytes, which the manifest does not have`);
  }
}

/** The digest of a block of zeros. */
export async function zeroDigest({ recipe: { parameters } }: StoredRoot, hasher: BlockHasher): Promise<Uint8Array> {
  return hasher.hashBlocks(new Uint8Array(parameters.blockSize), parameters);
}

/**
 * Leaf digests of blocks of the root in a row: from roots that are there, where one of them has the block, else from the
 * packs. Nothing of them is verified.
 */
export async function readLeaves(
  root: StoredRoot,
  first: number,
  count: number,
  zero: Uint8Array,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const leaves = new Uint8Array(count * DIGEST_SIZES[root.recipe.parameters.algorithm]);
  await readLeavesInto(leaves, root, first, count, zero, options);
  return leaves;
}

async function readLeavesInto(
  leaves: Uint8Array,
  root: StoredRoot,
  first: number,
  count: number,
  zero: Uint8Array,
  options: ReadOptions & { readonly known?: readonly KnownRoot[] } = {},
): Promise<void> {
  const digestSize = DIGEST_SIZES[root.recipe.parameters.algorithm];
  const known = knownLeaves(options.known ?? [], root.recipe.parameters);
  const wanted = new Map<number, { offset: number; size: number; target: number }[]>();
  for (const run of runsOf(root.recipe, first, count)) {
    const target = (run.start - first) * digestSize;
    if (run.pack === undefined) {
      for (let i = 0; i < run.count; i++) leaves.set(zero, target + i * digestSize);
      continue;
    }
    const ranges = wanted.get(run.pack) ?? [];
    for (const span of known.split(root.recipe.packs[run.pack]!.digest, run.first, run.count)) {
      const place = target + (span.first - run.first) * digestSize; // runs name packs of the list
      for (let at = 0; at < span.count; at += MAX_LEAVES) {
        const size = Math.min(MAX_LEAVES, span.count - at) * digestSize;
        const to = place + at * digestSize;
        if (span.leaves === undefined) ranges.push({ offset: (span.first + at) * digestSize, size, target: to });
        else await readKnown(span.leaves, ((span.at ?? 0) + at) * digestSize, leaves.subarray(to, to + size));
      }
    }
    if (ranges.length > 0) wanted.set(run.pack, ranges);
  }
  for (const [index, ranges] of wanted) {
    const { pack } = await root.openPack(index);
    ranges.sort((a, b) => a.offset - b.offset);
    const section = {
      size: pack.blocks * digestSize,
      read: (offset: number, size: number) => pack.readLeaves(offset / digestSize, size / digestSize, options),
    };
    await readRanges(section, ranges, ({ target }, bytes) => leaves.set(bytes, target), options);
  }
}

/** A root that is shorter than its recipe says, or cannot be read, leaves digests that match nothing. */
async function readKnown(leaves: Source, offset: number, target: Uint8Array): Promise<void> {
  if (offset + target.length > leaves.size) return;
  try {
    await fillFrom(leaves, offset, target);
  } catch (error) {
    if (!isAshlarError(error) || error.kind !== "SourceError") throw error;
  }
}

/** The parts of runs that lie in `count` blocks of the root from `first` on. */
export function* runsOf({ runs }: Recipe, first: number, count: number): Generator<Recipe["runs"][number]> {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const run = runs[middle]!; // low <= middle < high <= length
    if (run.start + run.count <= first) low = middle + 1;
    else high = middle;
  }
  for (let i = low; i < runs.length; i++) {
    const run = runs[i]!; // i < length
    if (run.start >= first + count) return;
    const start = Math.max(run.start, first);
    const end = Math.min(run.start + run.count, first + count);
    yield { ...run, start, count: end - start, first: run.pack === undefined ? 0 : run.first + start - run.start };
  }
}

/**
 * All leaf digests, and the tree over them, which has the root hash of the release: from then on every block can be
 * checked by itself. Roots that are known and turn out to be wrong cost a second try without them. Throws IntegrityError
 * `root-hash-mismatch`.
 */
export async function readVerifiedTree(
  root: StoredRoot,
  hasher: BlockHasher,
  options: ReadOptions & { readonly known?: readonly KnownRoot[] } = {},
): Promise<{ readonly leaves: Uint8Array; readonly tree: HashTree }> {
  const { verity, recipe } = root;
  const level = emptyLeafLevel(recipe.blocks, verity);
  const leaves = level.subarray(0, recipe.blocks * DIGEST_SIZES[verity.algorithm]);
  await readLeavesInto(leaves, root, 0, recipe.blocks, await zeroDigest(root, hasher), options);
  const tree = await buildTreeOver(level, recipe.blocks, verity, hasher);
  if (toHex(tree.rootHash) !== root.release.rootHash && (options.known?.length ?? 0) > 0)
    return readVerifiedTree(root, hasher, { signal: options.signal });
  assertRootHash(tree.rootHash, root.release, `${root.repository.name}: digests in the packs`);
  return { leaves, tree };
}

export function assertRootHash(actual: Uint8Array, { rootHash }: Release, what: string): void {
  if (toHex(actual) !== rootHash)
    throw new IntegrityError(
      "root-hash-mismatch",
      `${what}: root hash is ${toHex(actual)}, the release has ${rootHash}`,
      {
        path: what,
        expected: rootHash,
        actual: toHex(actual),
      },
    );
}
