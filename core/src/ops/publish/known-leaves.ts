/**
 * Leaf digests that need not travel: a device has those of the roots in its slots, and their recipes say which block of
 * which pack each of them is. Nothing here is trusted: the tree over all leaves has the root hash, or they are read anew.
 */
import { equalBytes } from "../../bytes/index.ts";
import { type Recipe, type Run, runCollector } from "../../formats/pack/index.ts";
import { sameDigest } from "../../formats/verity/index.ts";
import { type BlockHashParameters, DIGEST_SIZES } from "../../hash/index.ts";
import { passingChunksOf, type Source } from "../../source/index.ts";
import { digestSet } from "../diff/digest-set.ts";

/** A root that is there, whatever became of its blocks. */
export interface KnownRoot {
  readonly recipe: Recipe;
  /** Digests of its blocks, one after the other. */
  readonly leaves: Source;
}

/** Blocks of a pack in a row. Where `leaves` is there, their digests stand in it from digest `at` on. */
export interface LeafSpan {
  readonly first: number;
  readonly count: number;
  readonly leaves?: Source;
  readonly at?: number;
}

interface Interval {
  readonly first: number;
  readonly end: number;
  /** Block of the root. */
  readonly start: number;
  readonly leaves: Source;
}

export interface KnownLeaves {
  /** Tiles a run of a pack with spans that are known and spans that are not. */
  split(pack: string, first: number, count: number): Generator<LeafSpan>;
}

function isSameHash(a: BlockHashParameters, b: BlockHashParameters): boolean {
  return a.algorithm === b.algorithm && a.blockSize === b.blockSize && equalBytes(a.salt, b.salt);
}

export function knownLeaves(known: readonly KnownRoot[], parameters: BlockHashParameters): KnownLeaves {
  const byPack = new Map<string, Interval[]>();
  for (const { recipe, leaves } of known) {
    if (!isSameHash(recipe.parameters, parameters)) continue;
    for (const { pack, first, count, start } of recipe.runs) {
      const digest = pack === undefined ? undefined : recipe.packs[pack]?.digest;
      if (digest === undefined) continue;
      const intervals = byPack.get(digest) ?? [];
      intervals.push({ first, end: first + count, start, leaves });
      byPack.set(digest, intervals);
    }
  }
  for (const [pack, intervals] of byPack) byPack.set(pack, withoutOverlap(intervals));
  return {
    *split(pack, first, count) {
      const intervals = byPack.get(pack) ?? [];
      const end = first + count;
      let at = first;
      for (let i = firstAfter(intervals, first); i < intervals.length && at < end; i++) {
        const interval = intervals[i]!; // i < length
        if (interval.first >= end) break;
        if (interval.first > at) yield { first: at, count: interval.first - at };
        at = Math.max(at, interval.first);
        const stop = Math.min(end, interval.end);
        yield { first: at, count: stop - at, leaves: interval.leaves, at: interval.start + at - interval.first };
        at = stop;
      }
      if (at < end) yield { first: at, count: end - at };
    },
  };
}

/** Ascending, each place once: a block that a root has twice is known twice. */
function withoutOverlap(intervals: readonly Interval[]): Interval[] {
  const tiled: Interval[] = [];
  let end = 0;
  for (const interval of intervals.toSorted((a, b) => a.first - b.first || b.end - a.end)) {
    const skipped = Math.max(0, end - interval.first);
    if (interval.first + skipped >= interval.end) continue;
    tiled.push({ ...interval, first: interval.first + skipped, start: interval.start + skipped });
    end = interval.end;
  }
  return tiled;
}

/** Index of the first interval that ends behind `place`. */
function firstAfter(intervals: readonly Interval[], place: number): number {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (intervals[middle]!.end <= place)
      low = middle + 1; // low <= middle < high <= length
    else high = middle;
  }
  return low;
}

/** Bytes of a digest that it is told from others by, where to be wrong costs no more than to fetch digests. */
const GUESS_SIZE = 8;

/**
 * The recipe that a root has if it was the first of its line: its pack holds its blocks in the order in which each first
 * appears. Undefined where no pack of `wanted` has that many blocks. So a system that was installed, and has no memory
 * of a recipe, need not fetch the digests that it has.
 * @param zero digest of a block of zeros
 */
export async function guessRecipe(leaves: Source, zero: Uint8Array, wanted: Recipe): Promise<Recipe | undefined> {
  const size = DIGEST_SIZES[wanted.parameters.algorithm];
  const seen = digestSet(GUESS_SIZE, leaves.size / size);
  const { add, runs } = runCollector();
  let blocks = 0;
  for await (const chunk of passingChunksOf(leaves))
    for (let at = 0; at + size <= chunk.length; at += size, blocks++) {
      if (sameDigest(chunk, at, zero, 0, size)) {
        add(undefined, 0);
        continue;
      }
      const place = seen.indexOf(chunk, at);
      if (place < 0) seen.add(chunk, at);
      add(0, place < 0 ? seen.size - 1 : place);
    }
  const pack = wanted.packs.find((one) => one.blocks === seen.size);
  if (pack === undefined || blocks === 0) return undefined;
  return { parameters: wanted.parameters, blocks, packs: [pack], runs: runs satisfies Run[] };
}
