/** Says what is in an image, as plain values for a table or JSON. */
import { formatUuid, isZero, showBytes } from "../../bytes/index.ts";
import type { CompressionAlgorithm } from "../../codecs/index.ts";
import { chunksOf, type Source, sliceSource } from "../../source/index.ts";
import { type NodeType, showPath } from "../../tree/index.ts";
import { SPACE_KINDS, type SpaceKind } from "./accounts.ts";
import type { Extent } from "./extent.ts";
import type { ErofsFinding } from "./findings.ts";
import { COMPAT, INCOMPAT, METABOX_BIT } from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";
import { surveyErofs } from "./survey.ts";
import { walkErofs } from "./walk.ts";

export interface SuperblockDump {
  /** Bytes. */
  readonly blockSize: number;
  readonly blockCount: number;
  readonly inodeCount: number;
  readonly rootNid: number;
  /** Inode that holds fragments of others; null where there is none. */
  readonly packedNid: number | null;
  /** Inode that holds metadata; null where there is none. */
  readonly metaboxNid: number | null;
  /** First block of the metadata. */
  readonly metaBlock: number;
  /** First block of shared xattrs; 0 where there are none. */
  readonly xattrBlock: number;
  /** Nanoseconds since 1970, decimal. */
  readonly epoch: string;
  /** Seconds after the epoch; 0 where nothing says when the image was made. */
  readonly buildTime: number;
  readonly uuid: string;
  readonly volumeName: string;
  /** Bits, in hexadecimal. */
  readonly featureCompat: string;
  readonly featureIncompat: string;
  /** Both, by name. */
  readonly features: readonly string[];
  readonly algorithms: readonly CompressionAlgorithm[];
  /** Bytes of each further device. */
  readonly deviceSizes: readonly number[];
}

export interface InodeDump {
  /** First name; of what no name leads to, what it is. */
  readonly path: string;
  /** Slot; of the metabox where `isInMetabox`. */
  readonly nid: number;
  readonly isInMetabox: boolean;
  readonly type: NodeType;
  /** Low 12 bits, octal. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970, decimal. */
  readonly mtime: string;
  readonly layout: string;
  /** 32 or 64 bytes. */
  readonly inodeSize: number;
  /** Bytes of inline xattrs. */
  readonly xattrSize: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes that the content takes, those in the packed inode not counted; others may share them. */
  readonly storedSize: number;
  readonly links: number;
  /** Where the content comes from. */
  readonly extents: readonly Extent[];
}

/** Bytes of the image that belong to one kind of thing. */
export interface SpaceUse {
  readonly kind: SpaceKind;
  readonly bytes: number;
}

/** A run of bytes of the image. */
export interface ByteRun {
  /** Bytes. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  readonly kind: SpaceKind;
  /** Path of what it belongs to, or what that is for the image; null for what belongs to nothing. */
  readonly owner: string | null;
  /** How many inodes have the same bytes; 0 for what belongs to nothing. */
  readonly claims: number;
}

export interface SpaceDump {
  /** Adds up to the size of the image. */
  readonly space: readonly SpaceUse[];
  /** Inodes by type. */
  readonly counts: Partial<Record<NodeType, number>>;
  /** Names, hard links and the root included. */
  readonly names: number;
  /** Bytes of the content of all files. */
  readonly contentBytes: number;
  /** Bytes on further devices; shared ones as often as they are used. */
  readonly deviceBytes: number;
  /** What could not be read, and so is not accounted for: see {@link checkErofs}. */
  readonly problems: readonly ErofsFinding[];
}

const COMPAT_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [COMPAT.superblockChecksum, "superblock checksum"],
  [COMPAT.mtime, "mtime"],
  [COMPAT.xattrFilter, "xattr filter"],
  [COMPAT.sharedXattrsInMetabox, "shared xattrs in metabox"],
  [COMPAT.plainXattrPrefixes, "plain xattr prefixes"],
  [COMPAT.sharedContentXattr, "page cache sharing"],
];
const INCOMPAT_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [INCOMPAT.zeroPadding, "zero padding"],
  [INCOMPAT.compressionConfigs, "compression settings or big clusters"],
  [INCOMPAT.chunks, "chunked files"],
  [INCOMPAT.deviceTable, "further devices or a second algorithm"],
  [INCOMPAT.inlineClusters, "inline clusters"],
  [INCOMPAT.fragments, "fragments or deduplication"],
  [INCOMPAT.xattrPrefixes, "long xattr prefixes"],
  [INCOMPAT.bits48, "48 bit"],
  [INCOMPAT.metabox, "metabox"],
];

function namesOf(bits: number, known: readonly (readonly [bit: number, name: string])[]): string[] {
  const names = known.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
  const rest = known.reduce((left, [bit]) => left & ~bit, bits) >>> 0;
  return rest === 0 ? names : [...names, `unknown 0x${rest.toString(16)}`];
}

export function dumpSuperblock({ superblock, deviceTable }: ErofsImage): SuperblockDump {
  const { blockSize, blockCount, inodeCount, rootNid, buildTime, algorithms } = superblock;
  return {
    blockSize,
    blockCount,
    inodeCount,
    rootNid,
    packedNid: superblock.packedNid ?? null,
    metaboxNid: superblock.metaboxNid ?? null,
    metaBlock: superblock.metaStart / blockSize,
    xattrBlock: superblock.xattrStart / blockSize,
    epoch: String(superblock.epoch),
    buildTime,
    uuid: formatUuid(superblock.uuid),
    volumeName: showBytes(superblock.volumeName),
    featureCompat: `0x${superblock.featureCompat.toString(16)}`,
    featureIncompat: `0x${superblock.featureIncompat.toString(16)}`,
    features: [
      ...namesOf(superblock.featureCompat, COMPAT_NAMES),
      ...namesOf(superblock.featureIncompat, INCOMPAT_NAMES),
    ],
    algorithms,
    deviceSizes: deviceTable.map(({ size }) => size),
  };
}

/** Throws what its extents throw. @param path as people know it */
export async function dumpInode(image: ErofsImage, inode: ErofsInode, path: string): Promise<InodeDump> {
  const { nid, isInMetabox, type, layout, inodeSize, xattrSize, size, links, uid, gid } = inode;
  const extents: Extent[] = [];
  for await (const extent of image.extents(inode)) extents.push(extent);
  return {
    path,
    nid: isInMetabox ? nid - METABOX_BIT : nid,
    isInMetabox,
    type,
    mode: inode.mode.toString(8).padStart(4, "0"),
    uid,
    gid,
    mtime: String(inode.mtime),
    layout,
    inodeSize,
    xattrSize,
    size,
    storedSize: extents.reduce((sum, { space, storedSize }) => sum + (space === "packed" ? 0 : storedSize), 0),
    links,
    extents,
  };
}

/** Every inode once, under its first name. Throws what {@link walkErofs} throws. */
export async function* dumpInodes(image: ErofsImage): AsyncGenerator<InodeDump> {
  for await (const { path, inode, isKnown } of walkErofs(image))
    if (!isKnown) yield await dumpInode(image, inode, showPath(path));
}

export interface DumpSpaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with every run in order; together they are the image. */
  readonly onRun?: ((run: ByteRun) => void) | undefined;
}

/** Which bytes of the image belong to what. A broken image too is accounted for as far as it can be read. */
export async function dumpSpace(image: ErofsImage, { signal, onRun }: DumpSpaceOptions = {}): Promise<SpaceDump> {
  const problems: ErofsFinding[] = [];
  const counts: Partial<Record<NodeType, number>> = {};
  let contentBytes = 0;
  const survey = await surveyErofs(image, {
    report: (finding) => problems.push(finding),
    signal,
    onInode({ type, size }) {
      counts[type] = (counts[type] ?? 0) + 1;
      if (type === "file") contentBytes += size;
    },
  });
  const { blockSize, blockCount } = image.superblock;
  const bytes = new Map<SpaceKind, number>();
  for (const { start, size, kind, nid, claims } of survey.claims.image.settle(
    blockSize * blockCount,
    blockSize,
    () => {},
  )) {
    signal?.throwIfAborted();
    const isGap = kind === "free" || kind === "slack";
    const actual = isGap && !(await isAllZero(image.source, start, size)) ? "stray" : kind;
    bytes.set(actual, (bytes.get(actual) ?? 0) + size);
    onRun?.({ start, size, kind: actual, owner: nid === undefined ? null : survey.nameOf(nid), claims });
  }
  const space = SPACE_KINDS.flatMap((kind) => {
    const sum = bytes.get(kind);
    return sum === undefined ? [] : [{ kind, bytes: sum }];
  });
  const { names } = survey;
  const { deviceBytes } = survey.claims;
  return { space, counts, names, contentBytes, deviceBytes, problems };
}

async function isAllZero(source: Source, start: number, size: number): Promise<boolean> {
  for await (const chunk of chunksOf(sliceSource(source, start, size))) if (!isZero(chunk)) return false;
  return true;
}
