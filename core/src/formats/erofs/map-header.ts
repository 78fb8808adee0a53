/** The map header of a compressed inode, interpreted. */
import { alignUp } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import {
  ADVISE,
  ADVISE_RECORD_MASK,
  ADVISE_RECORD_SHIFT,
  CLUSTER_BITS_MASK,
  FULL_INDEX_PADDING,
  MAP_HEADER_ALIGNMENT,
  MAX_COMPACT_CLUSTER_BITS,
  RawExtentsHeader,
  RawMapHeader,
  RawWholeFragment,
  WHOLE_FRAGMENT,
} from "./format-compressed.ts";
import type { ErofsInode } from "./inode.ts";
import { type Superblock, showNid } from "./superblock.ts";

/** All of the file is a fragment. */
export interface WholeFragmentMap {
  readonly kind: "fragment";
  /** Bytes from the start of the packed inode's content. */
  readonly start: number;
}

/** An entry for each logical cluster: full ones of 8 bytes, or packs. */
export interface IndexMap {
  readonly kind: "full" | "compact";
  readonly advise: number;
  /** On-disk numbers of the algorithms of HEAD1 and HEAD2. */
  readonly algorithms: readonly [number, number];
  /** log2 of the bytes of a logical cluster. */
  readonly clusterBits: number;
  /** Bytes from the start of the image, or of the metabox, to the first entry. */
  readonly start: number;
  /** Bytes of the last cluster where it stands behind the index; else 0. */
  readonly inlineSize: number;
  /** Of the last extent in the packed inode, its lower 32 bits; undefined where it is none. */
  readonly fragmentStart: number | undefined;
}

/** A record for each extent. */
export interface EncodedMap {
  readonly kind: "encoded";
  readonly advise: number;
  /** Bytes. */
  readonly recordSize: number;
  /** log2 of the bytes of each extent but the last, where records have no place of their own. */
  readonly clusterBits: number;
  /** Bytes from the start of the image, or of the metabox, to what follows the header. */
  readonly start: number;
  /** Records. */
  readonly count: number;
}

export type CompressedMap = WholeFragmentMap | IndexMap | EncodedMap;

/** Bytes from the start of the image, or of the metabox. */
export function mapHeaderStart({ position, inodeSize, xattrSize }: ErofsInode): number {
  return alignUp(position + inodeSize + xattrSize, MAP_HEADER_ALIGNMENT);
}

/** Throws FormatError `bad-map`, UnsupportedError `cluster-size`. @param bytes start at {@link mapHeaderStart} */
export function parseMapHeader(bytes: Uint8Array, inode: ErofsInode, { blockSize }: Superblock): CompressedMap {
  const header = mapHeaderStart(inode);
  const { bits } = RawWholeFragment.view(bytes);
  if ((bits & WHOLE_FRAGMENT) !== 0n) {
    const start = bits - WHOLE_FRAGMENT;
    if (start > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(inode, header, `it is a fragment at ${start}`);
    return { kind: "fragment", start: Number(start) };
  }
  const raw = RawMapHeader.view(bytes);
  const { advise } = raw;
  const clusterBits = Math.log2(blockSize) + (raw.clusterBits & CLUSTER_BITS_MASK);
  const end = header + RawMapHeader.size;
  if (inode.layout === "compressed-full" && (advise & ADVISE.encodedExtents) !== 0)
    return encodedMap(bytes, inode, clusterBits, end);
  const isCompact = inode.layout === "compressed-compact";
  if (isCompact && ((advise & ADVISE.bigHead1) === 0) !== ((advise & ADVISE.bigHead2) === 0))
    throw bad(inode, header, "big clusters are allowed for one of two algorithms, which a compact index cannot say");
  if (isCompact && clusterBits > MAX_COMPACT_CLUSTER_BITS)
    throw new UnsupportedError(
      "cluster-size",
      `inode ${showNid(inode.nid)} has a compact index of clusters of 2^${clusterBits} bytes`,
      { offset: header },
    );
  const hasFragment = (advise & ADVISE.fragment) !== 0;
  return {
    kind: isCompact ? "compact" : "full",
    advise,
    algorithms: [raw.algorithms & 15, raw.algorithms >> 4],
    clusterBits,
    start: isCompact ? end : end + FULL_INDEX_PADDING,
    inlineSize: !hasFragment && (advise & ADVISE.inlineCluster) !== 0 ? raw.fragmentOffset >>> 16 : 0,
    fragmentStart: hasFragment ? raw.fragmentOffset : undefined,
  };
}

function encodedMap(bytes: Uint8Array, inode: ErofsInode, clusterBits: number, end: number): EncodedMap {
  const { advise, countLo, countHi } = RawExtentsHeader.view(bytes);
  const recordSize = 4 << ((advise >> ADVISE_RECORD_SHIFT) & ADVISE_RECORD_MASK);
  const hasPlaces = recordSize > 8;
  return {
    kind: "encoded",
    advise,
    recordSize,
    clusterBits,
    start: alignUp(end, recordSize),
    count: hasPlaces ? countLo + countHi * 2 ** 32 : Math.ceil(inode.size / 2 ** clusterBits),
  };
}

function bad(inode: ErofsInode, offset: number, what: string): FormatError {
  return new FormatError("bad-map", `the map of inode ${showNid(inode.nid)} is broken: ${what}`, { offset });
}
