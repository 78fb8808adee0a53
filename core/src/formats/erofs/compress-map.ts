/**
 * The map of a compressed file: which part of its content is in which cluster; as compact index (layout 3), or as records
 * for clusters that are not whole blocks (layout 1, 48BIT).
 * Spec: Linux fs/erofs/zmap.c (unpack_compacted_index, z_erofs_load_compact_lcluster) and erofs_fs.h, as of 6.18.
 *
 * Content is cut into parts of a block. Each has an entry: where a cluster starts in it, a _head_ with the place of that
 * start; else the distance back to the head. Entries stand in packs that end with a block address: from it and from the
 * entries ahead in the same pack a reader counts the clusters up to the one it wants, so a file's clusters are contiguous.
 */
import { alignUp } from "../../bytes/index.ts";
import {
  ADVISE,
  ADVISE_RECORD_SHIFT,
  BLOCK_COUNT_FLAG,
  CLUSTER_HEAD1,
  CLUSTER_NONHEAD,
  CLUSTER_PLAIN,
  COMPACT_ALIGNMENT,
  COMPACT_NUMBER_BITS,
  COMPACT_PACKS,
  EXTENT_FORMAT_SHIFT,
  MAP_HEADER_ALIGNMENT,
  RawEncodedExtent,
  RawExtentsHeader,
  RawMapHeader,
} from "./format-compressed.ts";

/** Where the content of a compressed file is. */
export interface CompressedExtent {
  readonly kind: "compressed";
  readonly startBlock: number;
  readonly blocks: number;
  /** As the encoder gives them: pairs of bytes of content and stored units times two, plus one where compressed. */
  readonly clusters: Uint32Array;
  /** The unit: clusters of whole blocks, or of bytes one directly behind the other. */
  readonly packing: "blocks" | "bytes";
  /** Index of {@link ALGORITHMS}. */
  readonly algorithm: number;
  /** Whether a cluster may have more than one block. */
  readonly isBig: boolean;
  /** The last cluster, where it stands behind the map. It is one of {@link clusters}. */
  readonly inline?: Uint8Array | undefined;
  /** Where what the last of {@link clusters} would have stored is in the packed inode, bytes. */
  readonly fragment?: number | undefined;
}

/** A file without clusters of its own is in the packed inode as a whole. */
function isWholeFragment({ clusters, fragment }: CompressedExtent): boolean {
  return fragment !== undefined && clusters.length === 0;
}

const { four: FOUR, two: TWO } = COMPACT_PACKS;
const ADDRESS_SIZE = 4; // bytes at the end of a pack
const MAX_DISTANCE = BLOCK_COUNT_FLAG - 1;

interface Geometry {
  /** Entries of 4 bytes, up to where packs of 16 are aligned; then entries of 2 bytes; the rest has 4 again. */
  readonly first: number;
  readonly middle: number;
}

/** @param start bytes from the start of the inode's slot to the first pack */
function geometryOf(start: number, entries: number): Geometry {
  const first = ((COMPACT_ALIGNMENT - (start % COMPACT_ALIGNMENT)) / 4) % 8;
  if (first >= entries) return { first: 0, middle: 0 };
  return { first, middle: Math.floor((entries - first) / TWO.entries) * TWO.entries };
}

/** Bytes from the end of inode and xattrs to the end of the map. Slots are aligned as packs are, so places do not count. */
export function mapSize(extent: CompressedExtent, headSize: number, contentSize: number, blockSize: number): number {
  if (extent.packing === "bytes") return recordsStart(headSize) - headSize + (extent.clusters.length / 2) * RECORD_SIZE;
  const start = alignUp(headSize, MAP_HEADER_ALIGNMENT) + RawMapHeader.size;
  if (isWholeFragment(extent)) return start - headSize;
  const entries = Math.ceil(contentSize / blockSize);
  const { first, middle } = geometryOf(start, entries);
  return start - headSize + first * 4 + middle * 2 + alignUp(entries - first - middle, FOUR.entries) * 4;
}

/** What {@link mapSize} counts: zeros up to the header, header, packs. */
export function encodeMap(
  extent: CompressedExtent,
  headSize: number,
  contentSize: number,
  blockSize: number,
): Uint8Array {
  const bytes = new Uint8Array(mapSize(extent, headSize, contentSize, blockSize));
  if (extent.packing === "bytes") {
    encodeRecords(bytes, extent, headSize, blockSize);
    return bytes;
  }
  const padding = alignUp(headSize, MAP_HEADER_ALIGNMENT) - headSize;
  const { algorithm, inline, fragment } = extent;
  if (isWholeFragment(extent)) {
    const header = { fragmentOffset: fragment ?? 0, advise: 0, algorithms: 0, clusterBits: WHOLE_FRAGMENT_BIT };
    bytes.set(RawMapHeader.encode(header), padding);
    return bytes;
  }
  const advise =
    ADVISE.compacted2B |
    (extent.isBig ? ADVISE.bigHead1 | ADVISE.bigHead2 : 0) |
    (inline === undefined ? 0 : ADVISE.inlineCluster) |
    (fragment === undefined ? 0 : ADVISE.fragment);
  const fragmentOffset = fragment ?? (inline?.length ?? 0) * 2 ** 16;
  bytes.set(RawMapHeader.encode({ fragmentOffset, advise, algorithms: algorithm, clusterBits: 0 }), padding);
  const entries = entriesOf(extent, contentSize, blockSize);
  const { first, middle } = geometryOf(headSize + padding + RawMapHeader.size, entries.count);
  const packs = bytes.subarray(padding + RawMapHeader.size);
  for (let i = 0, at = 0; i < entries.count; ) {
    const kind = i >= first && i < first + middle ? TWO : FOUR;
    encodePack(packs.subarray(at, at + kind.size), kind, entries, i, extent.isBig);
    at += kind.size;
    i += kind.entries;
  }
  return bytes;
}

const WHOLE_FRAGMENT_BIT = 0x80; // of clusterBits: bit 63 of the header

/** Records that say where in the file they start; the shorter forms save little and are searched from the first on. */
const RECORD_SIZE = 16; // bytes
const RECORD_FORM = 2; // log2 of its size / 4

function recordsStart(headSize: number): number {
  return alignUp(alignUp(headSize, MAP_HEADER_ALIGNMENT) + RawExtentsHeader.size, RECORD_SIZE);
}

/** Spec: z_erofs_map_blocks_ext of Linux fs/erofs/zmap.c, as of 6.18. */
function encodeRecords(
  bytes: Uint8Array,
  { clusters, startBlock, algorithm }: CompressedExtent,
  headSize: number,
  blockSize: number,
): void {
  const header = {
    countLo: clusters.length / 2,
    advise: ADVISE.encodedExtents | (RECORD_FORM << ADVISE_RECORD_SHIFT),
    countHi: 0,
  };
  bytes.set(RawExtentsHeader.encode(header), alignUp(headSize, MAP_HEADER_ALIGNMENT) - headSize);
  let to = recordsStart(headSize) - headSize;
  let at = 0; // bytes of content
  let start = startBlock * blockSize;
  for (let i = 0; i < clusters.length; i += 2, to += RECORD_SIZE) {
    const stored = clusters[i + 1]!; // pairs
    const size = stored >>> 1;
    const format = (stored & 1) === 0 ? 0 : algorithm + 1;
    const record = RawEncodedExtent.encode({
      storedSize: ((format << EXTENT_FORMAT_SHIFT) | size) >>> 0,
      startLo: start % 2 ** 32,
      startHi: Math.floor(start / 2 ** 32),
      atLo: at,
      atHi: 0,
      reserved: new Uint8Array(0),
    });
    bytes.set(record.subarray(0, RECORD_SIZE), to);
    at += clusters[i]!;
    start += size;
  }
}

interface Entries {
  readonly count: number;
  /** `CLUSTER_*`. */
  readonly types: Uint8Array;
  /** For heads the place of the start in the part, bytes; else the distance to the head, or the cluster's blocks. */
  readonly numbers: Uint16Array;
  /** Behind heads: parts up to the next head. */
  readonly ahead: Uint16Array;
  /** Address of the head's cluster; of the last head ahead elsewhere. */
  readonly blocks: Uint32Array;
}

function entriesOf(
  { clusters, startBlock, isBig, fragment }: CompressedExtent,
  size: number,
  blockSize: number,
): Entries {
  const count = Math.ceil(size / blockSize);
  const types = new Uint8Array(count);
  const numbers = new Uint16Array(count);
  const ahead = new Uint16Array(count);
  const blocks = new Uint32Array(count);
  let offset = 0; // bytes of content
  let block = startBlock;
  for (let i = 0; i < clusters.length; i += 2) {
    const stored = clusters[i + 1]!; // pairs
    const end = offset + clusters[i]!;
    const head = Math.floor(offset / blockSize);
    const next = end === size ? count : Math.floor(end / blockSize);
    const isFragment = fragment !== undefined && end === size; // Linux takes no plain one
    types[head] = (stored & 1) === 0 && !isFragment ? CLUSTER_PLAIN : CLUSTER_HEAD1;
    numbers[head] = offset % blockSize;
    blocks[head] = block;
    for (let part = head + 1; part < next; part++) {
      types[part] = CLUSTER_NONHEAD;
      numbers[part] =
        isBig && part === head + 1 ? BLOCK_COUNT_FLAG | (stored >> 1) : Math.min(part - head, MAX_DISTANCE);
      ahead[part] = Math.min(next - part, MAX_DISTANCE);
      blocks[part] = block;
    }
    offset = end;
    block += stored >> 1;
  }
  return { count, types, numbers, ahead, blocks };
}

function encodePack(
  pack: Uint8Array,
  kind: typeof FOUR | typeof TWO,
  entries: Entries,
  first: number,
  isBig: boolean,
): void {
  const { types, numbers, ahead } = entries;
  const bits = ((kind.size - ADDRESS_SIZE) * 8) / kind.entries;
  const count = Math.min(kind.entries, entries.count - first);
  for (let i = 0; i < count; i++) {
    const entry = first + i;
    const type = types[entry]!; // below the count
    let value = numbers[entry]!;
    // The last of a pack tells what lies ahead instead; how far back its head is, the entry before it says.
    if (type === CLUSTER_NONHEAD && i === kind.entries - 1 && (value & BLOCK_COUNT_FLAG) === 0) value = ahead[entry]!;
    putBits(pack, i * bits, (type << COMPACT_NUMBER_BITS) | value);
  }
  new DataView(pack.buffer, pack.byteOffset).setUint32(
    kind.size - ADDRESS_SIZE,
    baseOf(entries, first, count, isBig),
    true,
  );
}

/** A value of up to 16 bits at bit `bit`. */
function putBits(pack: Uint8Array, bit: number, value: number): void {
  for (let i = bit >> 3, shifted = value << (bit & 7); shifted > 0; i++, shifted >>>= 8) pack[i]! |= shifted & 0xff;
}

/** The address from which a reader counts up to the first head of a pack. */
function baseOf({ types, numbers, blocks }: Entries, first: number, count: number, isBig: boolean): number {
  let head = first;
  while (head < first + count && types[head] === CLUSTER_NONHEAD) head++;
  if (head === first + count) return blocks[first]!; // no reader wants it
  const address = blocks[head]!;
  if (!isBig) return address - 1; // where all have one block, the count starts with the head itself
  // A cluster whose head is in the pack before, but whose count of blocks is in this one, is counted too.
  const counted = head > first && types[first] === CLUSTER_NONHEAD ? numbers[first]! : 0;
  return (counted & BLOCK_COUNT_FLAG) === 0 ? address : address - (counted & ~BLOCK_COUNT_FLAG);
}
