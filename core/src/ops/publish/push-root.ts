/** The root of a release as recipe and packs: only blocks that no referenced pack has go into a new one. */
import { byteString, equalBytes, fromHex } from "../../bytes/index.ts";
import { IntegrityError, UnsupportedError } from "../../errors/index.ts";
import {
  encodeRecipe,
  MAX_BLOCKS,
  type PackReference,
  packWriter,
  type Recipe,
  type Run,
  runCollector,
} from "../../formats/pack/index.ts";
import { buildHashTree, type HashTree, layoutHashTree } from "../../formats/verity/index.ts";
import { DIGEST_SIZES, formatDigest, type Hasher } from "../../hash/index.ts";
import type { Scratch, Source } from "../../source/index.ts";
import type { Release } from "../release/release.ts";
import type { PublishEnvironment } from "./environment.ts";
import { assertRootHash, verityOf } from "./stored-root.ts";

/** Packs of one release at most. Each is an open of one blob for who reads it. */
const MAX_PACKS = 64;
/** The first pack of a root, and those that come to it; the README of formats/pack has the measurements. */
const FIRST_LEVEL = 6;
const NEXT_LEVEL = 15;
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

/** Where each leaf digest is: number of the pack and of the block. */
function indexPacks(
  packs: readonly KnownPack[],
  digestSize: number,
): Map<string, readonly [pack: number, block: number]> {
  const places = new Map<string, readonly [number, number]>();
  for (const [pack, { leaves, blocks }] of packs.entries())
    for (let block = 0; block < blocks; block++) {
      const digest = byteString(leaves.subarray(block * digestSize, (block + 1) * digestSize));
      if (!places.has(digest)) places.set(digest, [pack, block]);
    }
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
  const blocks = leaves.length / digestSize;
  const digestAt = (block: number) => byteString(leaves.subarray(block * digestSize, (block + 1) * digestSize));
  const zeroText: string = byteString(zero);
  const first = indexPacks(known, digestSize);
  const seen = known.map(() => new Set<number>());
  let hasNew = false;
  for (let block = 0; block < blocks; block++) {
    const digest = digestAt(block);
    if (digest === zeroText) continue;
    const place = first.get(digest);
    if (place === undefined) hasNew = true;
    else seen[place[0]]?.add(place[1]);
  }
  const used = seen.map(({ size }) => size);
  const kept = choosePacks(known, used, hasNew).map((index) => known[index]!); // indices of known
  const places = kept.length === known.length ? first : indexPacks(kept, digestSize);
  const { add, runs } = runCollector();
  const fresh: number[] = [];
  for (let block = 0; block < blocks; block++) {
    const digest = digestAt(block);
    if (digest === zeroText) {
      add(undefined, 0);
      continue;
    }
    let place = places.get(digest);
    if (place === undefined) {
      place = [kept.length, fresh.length];
      places.set(digest, place);
      fresh.push(block);
    }
    add(...place);
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
  const packed = await packBlocks(
    root,
    fresh,
    leaves,
    parameters,
    kept.length > 0 ? NEXT_LEVEL : FIRST_LEVEL,
    environment,
    what,
  );
  const packs = [
    ...kept.map(({ digest, size, blocks }) => ({ digest, size, blocks })),
    ...(packed ? [packed.reference] : []),
  ];
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

async function packBlocks(
  root: Source,
  fresh: readonly number[],
  leaves: Uint8Array,
  parameters: Recipe["parameters"],
  level: number,
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
    const reference = { digest: formatDigest("sha256", hasher.digest()), size: content.size, blocks };
    return { reference, content };
  } catch (error) {
    await content.dispose();
    throw error;
  } finally {
    task.end();
  }
}
