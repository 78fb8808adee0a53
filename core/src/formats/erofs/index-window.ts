/** Entries of an index of logical clusters, decoded into one form from full entries and from packs of bit fields. */
import { FormatError } from "../../errors/index.ts";
import {
  ADVISE,
  BLOCK_COUNT_FLAG,
  CLUSTER_NONHEAD,
  CLUSTER_TYPE_MASK,
  COMPACT_ALIGNMENT,
  COMPACT_NUMBER_BITS,
  COMPACT_PACKS,
  MAX_COMPACT_2B_CLUSTER_BITS,
  PARTIAL_REFERENCE,
  RawClusterIndex,
} from "./format-compressed.ts";
import type { IndexMap } from "./map-header.ts";

/** Consecutive entries, one a logical cluster. */
export interface IndexWindow {
  /** Number of the first logical cluster. */
  readonly first: number;
  readonly count: number;
  /** CLUSTER_*. */
  readonly types: Uint8Array;
  /** Of a head: bytes from the start of the logical cluster to that of its extent. Of others: entries back to their head; 0 where only a walk tells. */
  readonly offsets: Uint16Array;
  /** Of a head: block address. Of others: 0. */
  readonly blocks: Float64Array;
  /** Of the entry behind a head: blocks of its cluster; 0 where nothing says so. */
  readonly blockCounts: Uint16Array;
  /** Of a head: 1 where its cluster yields more than the extent. */
  readonly partials: Uint8Array;
}

/** Where entries lie: full ones, or the region of packs that a logical cluster belongs to. */
export interface IndexRegion {
  /** Number of its first logical cluster, and of the first behind it. */
  readonly first: number;
  readonly end: number;
  /** Bytes from the start of the image, or of the metabox. */
  readonly start: number;
  /** Bytes and entries of a pack. */
  readonly pack: { readonly size: number; readonly entries: number };
}

const FULL_PACK = { size: RawClusterIndex.size, entries: 1 } as const;

/**
 * The regions of an index, in order. A compact one has packs of 2 up to an aligned place, packs of 16 as long as they can
 * be filled where the map allows them, and packs of 2 again.
 *
 * @param blockCount blocks that the content takes uncompressed: by them, not by clusters, the kernel divides the index
 */
export function indexRegions(map: IndexMap, clusterCount: number, blockCount: number): IndexRegion[] {
  if (map.kind === "full") return [{ first: 0, end: clusterCount, start: map.start, pack: FULL_PACK }];
  const { two, four } = COMPACT_PACKS;
  const has2B = (map.advise & ADVISE.compacted2B) !== 0;
  const lead = ((COMPACT_ALIGNMENT - (map.start % COMPACT_ALIGNMENT)) % COMPACT_ALIGNMENT) / 4;
  const packed = has2B && lead < blockCount ? Math.floor((blockCount - lead) / two.entries) * two.entries : 0;
  if (packed === 0) return [{ first: 0, end: clusterCount, start: map.start, pack: four }];
  const regions: IndexRegion[] = [
    { first: 0, end: lead, start: map.start, pack: four },
    { first: lead, end: lead + packed, start: map.start + lead * 4, pack: two },
    { first: lead + packed, end: blockCount, start: map.start + lead * 4 + packed * 2, pack: four },
  ];
  return regions
    .map((region) => ({ ...region, end: Math.min(region.end, clusterCount) }))
    .filter(({ first, end }) => first < end);
}

/**
 * Decodes entries `first` to `first + count` of a region. Throws FormatError `bad-index`.
 *
 * @param bytes whole packs, beginning with the one that holds `first`, which is the first entry of its pack
 */
export function parseIndex(
  bytes: Uint8Array,
  map: IndexMap,
  region: IndexRegion,
  first: number,
  count: number,
  where: string,
): IndexWindow {
  const window: IndexWindow = {
    first,
    count,
    types: new Uint8Array(count),
    offsets: new Uint16Array(count),
    blocks: new Float64Array(count),
    blockCounts: new Uint16Array(count),
    partials: new Uint8Array(count),
  };
  if (map.kind === "full") parseFull(bytes, window);
  else parsePacks(bytes, map, region, window, where);
  const isBig = (map.advise & (ADVISE.bigHead1 | ADVISE.bigHead2)) !== 0;
  const clusterSize = 2 ** map.clusterBits;
  for (let i = 0; i < count; i++) {
    if (!isBig && window.blockCounts[i] !== 0)
      throw bad(where, first + i, "a number of blocks where clusters have one");
    if (window.types[i] !== CLUSTER_NONHEAD && window.offsets[i]! >= clusterSize)
      throw bad(where, first + i, `an extent begins at ${window.offsets[i]} of ${clusterSize} bytes`);
  }
  return window;
}

function bad(where: string, entry: number, what: string): FormatError {
  return new FormatError("bad-index", `${where}: entry ${entry} of the index is broken: ${what}`);
}

function parseFull(bytes: Uint8Array, { count, types, offsets, blocks, blockCounts, partials }: IndexWindow): void {
  for (let i = 0; i < count; i++) {
    const { advise, offset, block } = RawClusterIndex.view(bytes, i * RawClusterIndex.size);
    const type = advise & CLUSTER_TYPE_MASK;
    types[i] = type;
    if (type === CLUSTER_NONHEAD) {
      const distance = block & 0xffff;
      const hasCount = (distance & BLOCK_COUNT_FLAG) !== 0;
      if (hasCount) blockCounts[i] = distance & ~BLOCK_COUNT_FLAG;
      offsets[i] = hasCount ? 1 : distance;
    } else {
      offsets[i] = offset;
      blocks[i] = block;
      if ((advise & PARTIAL_REFERENCE) !== 0) partials[i] = 1;
    }
  }
}

/** Packs hold one address each; that of a head follows from the clusters before it in the pack. */
function parsePacks(
  bytes: Uint8Array,
  { advise, clusterBits }: IndexMap,
  { pack }: IndexRegion,
  { first, count, types, offsets, blocks, blockCounts }: IndexWindow,
  where: string,
): void {
  const is2B = pack === COMPACT_PACKS.two;
  if (is2B && clusterBits > MAX_COMPACT_2B_CLUSTER_BITS)
    throw bad(where, first, `packs of 16 with clusters of 2^${clusterBits} bytes`);
  const numberBits = Math.max(clusterBits, COMPACT_NUMBER_BITS);
  const entryBits = ((pack.size - 4) * 8) / pack.entries;
  const isBig = (advise & ADVISE.bigHead1) !== 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0, at = 0; start < count; start += pack.entries, at += pack.size) {
    let block = view.getUint32(at + pack.size - 4, true); // before the first cluster of the pack, or where it begins if big
    let isOpen = false; // a big cluster whose blocks are not counted yet
    const end = Math.min(pack.entries, count - start);
    for (let i = 0; i < end; i++) {
      const bit = i * entryBits;
      // Four bytes from here on never pass the end of the pack: the address follows the bit fields.
      const field = view.getUint32(at + (bit >> 3), true) >>> (bit & 7);
      const number = field & ((1 << numberBits) - 1);
      const type = (field >>> numberBits) & CLUSTER_TYPE_MASK;
      const entry = start + i;
      types[entry] = type;
      if (type !== CLUSTER_NONHEAD) {
        if (!isBig || isOpen) block++;
        offsets[entry] = number;
        blocks[entry] = block;
        isOpen = isBig;
        continue;
      }
      if ((number & BLOCK_COUNT_FLAG) !== 0) {
        blockCounts[entry] = number & ~BLOCK_COUNT_FLAG;
        block += blockCounts[entry]!; // just set
        isOpen = false;
        offsets[entry] = 1;
        continue;
      }
      if (isOpen) throw bad(where, first + entry, "nothing says how many blocks the cluster before has");
      offsets[entry] = i + 1 === pack.entries ? 0 : number; // the last one has the distance to the next head
    }
  }
}
