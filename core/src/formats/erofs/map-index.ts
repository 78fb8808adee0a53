/**
 * Extents of inodes with an index of logical clusters. An extent begins where an entry says so and ends where the next
 * one begins; the distances in other entries are shortcuts for the kernel, and check.ts compares them.
 */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { readSteps, type Source, type Steps } from "../../source/index.ts";
import { type Encoding, type Extent, fragmentExtent, plainExtent } from "./extent.ts";
import {
  ADVISE,
  ALGORITHMS,
  CLUSTER_HEAD1,
  CLUSTER_HEAD2,
  CLUSTER_NONHEAD,
  CLUSTER_PLAIN,
  MAX_CLUSTER_CONTENT,
} from "./format-compressed.ts";
import { type IndexRegion, type IndexWindow, indexRegions, parseIndex } from "./index-window.ts";
import type { ErofsInode } from "./inode.ts";
import { refuseCrossing } from "./map-flat.ts";
import type { IndexMap } from "./map-header.ts";
import { showNid } from "./superblock.ts";
import type { Volume } from "./volume.ts";

/** Entries that are decoded at once, a multiple of those in a pack. */
const WINDOW = 512;

/** An entry with which an extent begins. */
interface Head {
  /** Number of the logical cluster. */
  readonly entry: number;
  readonly type: number;
  /** Bytes from the start of the content. */
  readonly at: number;
  readonly block: number;
  readonly isPartial: boolean;
}

/** Reads an index piece by piece, and remembers the last piece. */
export class IndexReader {
  readonly count: number;
  readonly clusterSize: number;
  readonly map: IndexMap;
  readonly where: string;
  private readonly regions: readonly IndexRegion[];
  private readonly metadata: Source;
  private last: IndexWindow | undefined;

  constructor(volume: Volume, inode: ErofsInode, map: IndexMap) {
    this.map = map;
    this.clusterSize = 2 ** map.clusterBits;
    this.count = Math.ceil(inode.size / this.clusterSize);
    this.where = `inode ${showNid(inode.nid)}`;
    this.metadata = volume.metadataOf(inode);
    this.regions = indexRegions(map, this.count, Math.ceil(inode.size / volume.superblock.blockSize));
    const end = this.end;
    if (end > this.metadata.size)
      throw new FormatError("data-out-of-range", `the index of ${this.where} lies outside the image`, {
        offset: map.start,
      });
  }

  /** Bytes from the start of the image, or of the metabox, to what follows the index. */
  get end(): number {
    const region = this.regions.at(-1);
    if (region === undefined) return this.map.start;
    const { size, entries } = region.pack;
    return region.start + Math.ceil((region.end - region.first) / entries) * size;
  }

  /** The last piece, where the entry belongs to it. */
  private lastWith(entry: number): IndexWindow | undefined {
    const { last } = this;
    return last !== undefined && entry >= last.first && entry < last.first + last.count ? last : undefined;
  }

  /** The piece that an entry belongs to. */
  *windowOf(entry: number): Steps<never, IndexWindow> {
    const known = this.lastWith(entry);
    if (known !== undefined) return known;
    const region = this.regions.find(({ end }) => entry < end);
    if (region === undefined) throw new RangeError(`no entry ${entry} in an index of ${this.count}`);
    const first = entry - ((entry - region.first) % WINDOW);
    const count = Math.min(WINDOW, region.end - first);
    const { size, entries } = region.pack;
    const start = region.start + ((first - region.first) / entries) * size;
    const bytes = yield* readSteps(this.metadata, start, Math.ceil(count / entries) * size);
    this.last = parseIndex(bytes, this.map, region, first, count, this.where);
    return this.last;
  }

  head(window: IndexWindow, i: number): Head {
    const entry = window.first + i;
    return {
      entry,
      type: window.types[i]!, // i is an entry of the window
      at: entry * this.clusterSize + window.offsets[i]!,
      block: window.blocks[i]!,
      isPartial: window.partials[i] === 1,
    };
  }

  /** The head of the extent that holds byte `offset`. Throws FormatError `bad-index`. */
  *headAt(offset: number): Steps<never, Head> {
    const from = Math.floor(offset / this.clusterSize);
    const farthest = from - Math.ceil(MAX_CLUSTER_CONTENT / this.clusterSize) - 1;
    for (let entry = from; entry >= Math.max(0, farthest); entry--) {
      const window = this.lastWith(entry) ?? (yield* this.windowOf(entry));
      const i = entry - window.first;
      if (window.types[i] === CLUSTER_NONHEAD) continue;
      const head = this.head(window, i);
      if (head.at <= offset) return head;
    }
    throw new FormatError("bad-index", `no extent of ${this.where} begins before byte ${offset}`, {
      offset: this.map.start,
    });
  }

  /** The first head behind entry `entry`; undefined where none is. Throws FormatError `cluster-too-large`. */
  *headAfter(entry: number): Steps<never, Head | undefined> {
    const farthest = entry + Math.ceil(MAX_CLUSTER_CONTENT / this.clusterSize) + 1;
    for (let next = entry + 1; next < this.count; ) {
      if (next > farthest) throw tooLarge(this.where, (next - entry) * this.clusterSize, MAX_CLUSTER_CONTENT);
      const window = this.lastWith(next) ?? (yield* this.windowOf(next));
      for (let i = next - window.first; i < window.count; i++)
        if (window.types[i] !== CLUSTER_NONHEAD) return this.head(window, i);
      next = window.first + window.count;
    }
    return undefined;
  }

  /** Blocks of the cluster with that head. Throws FormatError `bad-index`. */
  *blocksOf({ entry, type }: Head): Steps<never, number> {
    const { advise } = this.map;
    const isBig = (advise & (type === CLUSTER_HEAD1 ? ADVISE.bigHead1 : ADVISE.bigHead2)) !== 0;
    if (!isBig || entry + 1 >= this.count) return 1;
    const window = this.lastWith(entry + 1) ?? (yield* this.windowOf(entry + 1));
    const i = entry + 1 - window.first;
    if (window.types[i] !== CLUSTER_NONHEAD) return 1;
    const blocks = window.blockCounts[i]!; // i is an entry of the window
    if (blocks === 0)
      throw new FormatError("bad-index", `nothing says how many blocks cluster ${entry} of ${this.where} has`);
    return blocks;
  }
}

export function tooLarge(where: string, actual: number, expected: number): FormatError {
  return new FormatError("cluster-too-large", `a cluster of ${where} has ${actual} bytes, more than ${expected}`, {
    expected,
    actual,
  });
}

/** From the extent that holds byte `from` on, which is less than the inode's size. */
export function* indexExtents(volume: Volume, inode: ErofsInode, map: IndexMap, from: number): Steps<Extent> {
  const { blockSize } = volume.superblock;
  const index = new IndexReader(volume, inode, map);
  let head: Head | undefined = yield* index.headAt(from);
  while (head !== undefined && head.at < inode.size) {
    const next: Head | undefined = yield* index.headAfter(head.entry);
    const end = Math.min(next?.at ?? inode.size, inode.size);
    if (end > head.at) {
      const size = end - head.at;
      if (end === inode.size && map.fragmentStart !== undefined)
        yield fragmentExtent(head.at, size, fragmentStart(map.fragmentStart, head, map));
      else if (end === inode.size && map.inlineSize > 0) {
        refuseCrossing(index.end, map.inlineSize, blockSize, inode);
        const space = inode.isInMetabox ? "metabox" : "device";
        const stored = { space, start: index.end, storedSize: map.inlineSize, isInline: true } as const;
        const encoding = encodingOf(head, map, index.where);
        yield { ...plainExtent(head.at, size, 0), ...stored, encoding, isPartial: head.isPartial };
      } else {
        yield volume.place({
          at: head.at,
          size,
          encoding: encodingOf(head, map, index.where),
          space: "device",
          device: 0,
          start: head.block * blockSize,
          storedSize: (yield* index.blocksOf(head)) * blockSize,
          isInline: false,
          isPartial: head.isPartial,
        });
      }
    }
    head = next;
  }
}

function encodingOf({ type }: Head, map: IndexMap, where: string): Encoding {
  if (type === CLUSTER_PLAIN) return (map.advise & ADVISE.interlaced) !== 0 ? "interlaced" : "plain";
  return algorithmOf(map.algorithms[type === CLUSTER_HEAD2 ? 1 : 0], where);
}

/** By its on-disk number. Throws UnsupportedError `erofs-algorithm`. */
export function algorithmOf(number: number, where: string): Encoding {
  const algorithm = ALGORITHMS[number];
  if (algorithm !== undefined) return algorithm;
  throw new UnsupportedError("erofs-algorithm", `compression algorithm ${number} of ${where} is not implemented`);
}

/** A full index has bits 32 and on of the place in the entry. Throws FormatError `bad-index`. */
function fragmentStart(low: number, head: Head, map: IndexMap): number {
  const start = low + (map.kind === "full" ? head.block * 2 ** 32 : 0);
  if (Number.isSafeInteger(start)) return start;
  throw new FormatError("bad-index", `a fragment is said to lie at ${start} of the packed inode`);
}
