/** The root of a release as recipe and packs: only blocks that no referenced pack has go into a new one. */
import { equalBytes, fromHex } from "../../bytes/index.ts";
import { IntegrityError, UnsupportedError } from "../../errors/index.ts";
import {
  encodeRecipe,
  FILTERS,
  MAX_BLOCKS,
  MAX_RUNS,
  type PackReference,
  packWriter,
  type Recipe,
  type Run,
  runCollector,
} from "../../formats/pack/index.ts";
import { buildHashTree, type HashTree, layoutHashTree } from "../../formats/verity/index.ts";
import { DIGEST_SIZES, formatDigest, type Hasher } from "../../hash/index.ts";
import type { Scratch, Source } from "../../source/index.ts";
import { digestSet } from "../diff/digest-set.ts";
import type { Release } from "../release/release.ts";
import type { PublishEnvironment } from "./environment.ts";
import { assertRootHash, verityOf } from "./stored-root.ts";

/** Packs of one release at most. Each is an open of one blob for who reads it. */
const MAX_PACKS = 64;
/** The first pack of a root, and those that come to it; the README of formats/pack has the measurements. */
const FIRST_LEVEL = 6;
const NEXT_LEVEL = 19;
/**
 * Bytes of new blocks from which on their frames have 512 KiB: a large update is 3 to 4 % smaller so, which all devices fetch, and
 * a single file that is read in place costs up to four times as much. With 1 MiB, another 1 %, reading `/etc/os-release` takes
 * more than 1 MB.
 */
const LARGE_UPDATE = 16 * 1024 * 1024;
const LARGE_FRAME_SCALE = 2;
/** What is new in an update goes through one: it has a twentieth less of machine code, a hundredth where most of it is kernel modules. */
function filterFor({ architecture }: Release): PackReference["filter"] {
  return FILTERS.find((filter) => filter === architecture);
}

/** Bytes of the root that are read at once. */
const READ_SIZE = 1024 * 1024;

/** Blocks that the repository has already. */
export interface KnownPack extends PackReference {
  /** Leaf digests of all its blocks. */
  readonly leaves: Uint8Array;
}

export interface PackedRoot {
  readonly recipe: Recipe;
  readonly recipeBytes: Uint8Array;
  /** Levels of the hash tree above the leaves, the top first. */
  readonly upperLevels: Uint8Array;
  /** The blob of the new pack; undefined where everything is known. */
  readonly newPack: { readonly reference: PackReference; readonly content: Scratch } | undefined;
  readonly newBlocks: number;
}

/** The leaf digests from a hash device, and the tree over them, which must be that of the release. */
export async function readLeafLevel(
  hashDevice: Source,
  release: Release,
  environment: PublishEnvironment,
  what: string,
) {
  const verity = verityOf(release);
  const { dataBlocks } = release.verity;
  if (dataBlocks < 1 || dataBlocks > MAX_BLOCKS)
    throw new UnsupportedError(
      "too-many-blocks",
      `${what}: roots of 1 to ${MAX_BLOCKS} blocks can be pushed, this has ${dataBlocks}`,
    );
  const { levels, size } = layoutHashTree(dataBlocks, verity);
  if (hashDevice.size < size)
    throw new IntegrityError("verity-size", `${what}: hash device has ${hashDevice.size} bytes, ${size} are needed`, {
      expected: size,
      actual: hashDevice.size,
    });
  const [lowest] = levels;
  const digestSize = DIGEST_SIZES[verity.algorithm];
  const leaves =
    lowest === undefined
      ? fromHex(release.rootHash) // the only block's
      : Uint8Array.from(await hashDevice.read(lowest.firstBlock * verity.hashBlockSize, dataBlocks * digestSize));
  if (leaves.length !== dataBlocks * digestSize)
    throw new IntegrityError("verity-root-hash", `${what}: the root hash is none of ${verity.algorithm}`);
  const tree = await buildHashTree(leaves, verity, environment.blockHasher);
  assertRootHash(tree.rootHash, release, what);
  return { leaves, tree };
}

/**
 * Which of the known packs a root goes on with. Starts afresh when less than half of what it would refer to is of use;
 * when there are too many packs, keeps those that most is used of, and packs the blocks of the others again.
 * @param used blocks of use, a pack each
 */
export function choosePacks(
  packs: readonly Pick<PackReference, "blocks">[],
  used: readonly number[],
  hasNew: boolean,
): readonly number[] {
  const referenced = packs.flatMap((_, index) => ((used[index] ?? 0) > 0 ? [index] : []));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const useful = sum(referenced.map((index) => used[index] ?? 0));
  if (useful * 2 < sum(referenced.map((index) => packs[index]?.blocks ?? 0))) return [];
  if (referenced.length + (hasNew ? 1 : 0) <= MAX_PACKS) return referenced;
  const best = [...referenced].sort((a, b) => (used[b] ?? 0) - (used[a] ?? 0) || a - b).slice(0, MAX_PACKS / 2);
  return best.sort((a, b) => a - b);
}

/** Where each leaf digest is; a Map would end at 2^24 entries. */
function placeIndex(digestSize: number) {
  const digests = digestSet(digestSize);
  const packs: number[] = [];
  const blocks: number[] = [];
  return {
    /** The place of the digest at `at`, as the collector of runs takes it; undefined where there is none. */
    find(leaves: Uint8Array, at: number): readonly [pack: number, block: number] | undefined {
      const index = digests.indexOf(leaves, at);
      return index < 0 ? undefined : [packs[index]!, blocks[index]!]; // as many as digests
    },
    /** The first place of a digest stays. */
    add(leaves: Uint8Array, at: number, pack: number, block: number): void {
      if (!digests.add(leaves, at)) return;
      packs.push(pack);
      blocks.push(block);
    },
  };
}

function indexPacks(packs: readonly KnownPack[], digestSize: number) {
  const places = placeIndex(digestSize);
  for (const [pack, { leaves, blocks }] of packs.entries())
    for (let block = 0; block < blocks; block++) places.add(leaves, block * digestSize, pack, block);
  return places;
}

interface Plan {
  readonly kept: readonly KnownPack[];
  readonly runs: readonly Run[];
  /** Blocks of the root that go into the new pack, ascending. */
  readonly fresh: readonly number[];
}

/** Every block of the root gets its place; pure. */
export function planRoot(leaves: Uint8Array, zero: Uint8Array, known: readonly KnownPack[]): Plan {
  const digestSize = zero.length;
  const isZeros = (at: number): boolean => equalBytes(leaves.subarray(at, at + digestSize), zero);
  const first = indexPacks(known, digestSize);
  const seen = known.map(({ blocks }) => new Uint8Array(blocks));
  let hasNew = false;
  for (let at = 0; at < leaves.length; at += digestSize) {
    if (isZeros(at)) continue;
    const place = first.find(leaves, at);
    if (place === undefined) hasNew = true;
    else seen[place[0]]![place[1]] = 1; // places are in known packs
  }
  const used = seen.map((blocks) => blocks.reduce((sum, isUsed) => sum + isUsed, 0));
  const kept = choosePacks(known, used, hasNew).map((index) => known[index]!); // indices of known
  const places = kept.length === known.length ? first : indexPacks(kept, digestSize);
  const { add, runs } = runCollector();
  const fresh: number[] = [];
  for (let at = 0; at < leaves.length; at += digestSize) {
    if (isZeros(at)) {
      add(undefined, 0);
      continue;
    }
    const place = places.find(leaves, at);
    if (place !== undefined) {
      add(...place);
      continue;
    }
    places.add(leaves, at, kept.length, fresh.length);
    add(kept.length, fresh.length);
    fresh.push(at / digestSize);
  }
  return { kept, runs, fresh };
}

/** Makes recipe and pack of a root. Every block that is packed is held against its digest. The caller disposes the pack. */
export async function packRoot(
  root: Source,
  release: Release,
  { leaves, tree }: { readonly leaves: Uint8Array; readonly tree: HashTree },
  known: readonly KnownPack[],
  environment: PublishEnvironment,
  what: string,
): Promise<PackedRoot> {
  const verity = verityOf(release);
  const parameters = { algorithm: verity.algorithm, salt: verity.salt, blockSize: verity.dataBlockSize };
  if (root.size !== release.verity.dataBlocks * parameters.blockSize)
    throw new IntegrityError(
      "verity-size",
      `${what}: root has ${root.size} bytes, the hash tree is over ${release.verity.dataBlocks} blocks`,
    );
  const zero = await environment.blockHasher.hashBlocks(new Uint8Array(parameters.blockSize), parameters);
  const { kept, runs, fresh } = planRoot(leaves, zero, known);
  if (runs.length > MAX_RUNS)
    throw new UnsupportedError(
      "too-many-runs",
      `${what}: the root would be ${runs.length} runs of blocks, ${MAX_RUNS} can be written; push without a previous release`,
    );
  const packing = kept.length > 0 ? updatePacking(fresh.length * parameters.blockSize, release) : FIRST_PACKING;
  const packed = await packBlocks(root, fresh, leaves, parameters, packing, environment, what);
  const packs = [...kept.map(({ leaves: _, ...reference }) => reference), ...(packed ? [packed.reference] : [])];
  const recipe: Recipe = { parameters, blocks: release.verity.dataBlocks, packs, runs };
  return {
    recipe,
    recipeBytes: encodeRecipe(recipe),
    upperLevels: upperLevelsOf(tree),
    newPack: packed,
    newBlocks: fresh.length,
  };
}

function upperLevelsOf({ levels }: HashTree): Uint8Array {
  const upper = levels.slice(1).reverse();
  const bytes = new Uint8Array(upper.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const level of upper) {
    bytes.set(level, at);
    at += level.length;
  }
  return bytes;
}

interface Packing extends Pick<PackReference, "frameScale" | "filter"> {
  readonly level: number;
}

const FIRST_PACKING: Packing = { level: FIRST_LEVEL, frameScale: 0, filter: undefined };

/** @param size bytes of new blocks */
function updatePacking(size: number, release: Release): Packing {
  return {
    level: NEXT_LEVEL,
    frameScale: size < LARGE_UPDATE ? 0 : LARGE_FRAME_SCALE,
    filter: filterFor(release),
  };
}

async function packBlocks(
  root: Source,
  fresh: readonly number[],
  leaves: Uint8Array,
  parameters: Recipe["parameters"],
  { level, ...framing }: Packing,
  { scratch, hashes, frameCompressor, blockHasher, reporter, signal }: PublishEnvironment,
  what: string,
): Promise<PackedRoot["newPack"]> {
  if (fresh.length === 0) return undefined;
  const { blockSize, algorithm } = parameters;
  const digestSize = DIGEST_SIZES[algorithm];
  const content = await scratch.create();
  const task = reporter.start("packing blocks", fresh.length * blockSize);
  try {
    const hasher: Hasher = hashes.create("sha256");
    const writer = packWriter(
      {
        async write(bytes) {
          hasher.update(bytes);
          await content.append(bytes);
        },
        async skip() {
          throw new Error("packs have no holes");
        },
      },
      parameters,
      (blocks, frameSize) => frameCompressor.compressFrames(blocks, frameSize, level),
      framing,
    );
    const most = Math.max(1, READ_SIZE / blockSize);
    for (let i = 0; i < fresh.length; ) {
      signal?.throwIfAborted();
      const first = fresh[i]!; // i < length
      let count = 1;
      while (count < most && fresh[i + count] === first + count) count++;
      const blocks = await root.read(first * blockSize, count * blockSize, { signal });
      const expected = leaves.subarray(first * digestSize, (first + count) * digestSize);
      if (!equalBytes(await blockHasher.hashBlocks(blocks, parameters), expected))
        throw new IntegrityError(
          "verity-mismatch",
          `${what}: root: blocks ${first} to ${first + count - 1} do not match the hash tree`,
          {
            offset: first * blockSize,
          },
        );
      await writer.add(blocks, expected);
      task.advance(blocks.length);
      i += count;
    }
    const { blocks } = await writer.finish();
    const reference = { digest: formatDigest("sha256", hasher.digest()), size: content.size, blocks, ...framing };
    return { reference, content };
  } catch (error) {
    await content.dispose();
    throw error;
  } finally {
    task.end();
  }
}
