/**
 * Opens an EROFS image: superblock, inodes, and from them directories, links, contents and xattrs. Lazy: nothing but
 * the superblock, the device table and the inodes of the metabox and the root is read in advance.
 */
import type { ByteString } from "../../bytes/index.ts";
import { type Decompressor, pureDecompressor } from "../../codecs/index.ts";
import { FormatError } from "../../errors/index.ts";
import { cachedSource, finish, flow, type Source } from "../../source/index.ts";
import { splitPath } from "../../tree/index.ts";
import { clusterCache } from "./clusters.ts";
import { contentOf } from "./content.ts";
import type { Extent } from "./extent.ts";
import type { ErofsInode } from "./inode.ts";
import { checkRange, extentSteps } from "./map.ts";
import { type DirectoryEntry, directorySteps, findEntry, isBelow } from "./read-directory.ts";
import { inodeSteps, linkSteps } from "./read-inode.ts";
import { readXattr, readXattrs, xattrReader } from "./read-xattrs.ts";
import {
  type DeviceSlot,
  readDeviceTable,
  readSuperblock,
  type Superblock,
  showNid,
  verifyChecksum,
} from "./superblock.ts";
import { bufferOf, metadataOf, placeOn, type Volume } from "./volume.ts";
import { PLAIN_PREFIXES, type XattrPrefixes } from "./xattr-prefixes.ts";

export interface ErofsImage {
  readonly superblock: Superblock;
  readonly source: Source;
  readonly root: ErofsInode;
  /** What the image says about its further devices, in the order of their numbers. */
  readonly deviceTable: readonly DeviceSlot[];
  inode(nid: number): Promise<ErofsInode>;
  /** The inode at exactly this path; links are not followed, `..` goes up. Undefined where nothing is. */
  lookup(path: string): Promise<ErofsInode | undefined>;
  /** Without `.` and `..`, in the order of the image. */
  readDirectory(inode: ErofsInode): Promise<DirectoryEntry[]>;
  /** With `.` and `..`, where they are there. */
  readEntries(inode: ErofsInode): Promise<DirectoryEntry[]>;
  readlink(inode: ErofsInode): Promise<ByteString>;
  /**
   * Content of a regular file. Reading decompresses no cluster that the range does not touch, and rejects with FormatError
   * or UnsupportedError for what is broken or not at hand.
   */
  content(inode: ErofsInode): Source;
  /** Memory that contents are read into at the least cost, by `readInto`; never given back, so for few buffers that are used again and again. */
  buffer(size: number): Uint8Array;
  xattrs(inode: ErofsInode): Promise<ReadonlyMap<ByteString, Uint8Array>>;
  /** One of them; the inode's name filter, where there is one, spares looking for most that are not there. */
  xattr(inode: ErofsInode, name: ByteString): Promise<Uint8Array | undefined>;
  /** Where content, directory or link target comes from, from the extent that holds byte `from` on. Reads no data. */
  extents(inode: ErofsInode, from?: number): AsyncGenerator<Extent>;
  /** What inodes and the structures behind them stand in: the image, or the metabox for inodes of the metabox. */
  metadataOf(inode: ErofsInode): Source;
  /** For the other parts of this format. */
  readonly volume: Volume;
}

export interface OpenErofsOptions {
  /** A wrong superblock checksum is an IntegrityError unless it is to be ignored. Images without one are read. */
  readonly checksum?: "verify" | "ignore" | undefined;
  /** For images whose xattr names follow other rules, as those of composefs do. */
  readonly xattrPrefixes?: XattrPrefixes | undefined;
  /**
   * The further devices of an image that spreads over several, in the order of its device table. Without them their data is
   * looked for in the image itself, at the addresses that the table gives them, as the kernel does.
   */
  readonly devices?: readonly Source[] | undefined;
  /** The host's own where it has a faster one. */
  readonly decompressor?: Decompressor | undefined;
}

/** Metadata is read in pieces and remembered, so that one inode is not one read. */
const CACHE_BYTES = 8 * 1024 * 1024;
const PIECE = 64 * 1024; // bytes
/** Where a read is cheap: inodes often stand between data, which larger pieces would be full of. */
const SMALL_PIECE = 16 * 1024; // bytes

function cachedMetadata(source: Source): Source {
  const blockSize = source.readInto === undefined ? PIECE : SMALL_PIECE;
  return cachedSource(source, { blockSize, maxBytes: CACHE_BYTES });
}

/** Decompressed clusters of which a part was asked for: at least one of the largest. */
const CLUSTER_CACHE = 16 * 1024 * 1024; // bytes

/**
 * Throws FormatError for what is not an EROFS image or is cut off, UnsupportedError `erofs-feature` naming unknown
 * incompatible features, IntegrityError `superblock-checksum`.
 */
export async function openErofs(source: Source, options: OpenErofsOptions = {}): Promise<ErofsImage> {
  const superblock = await readSuperblock(source);
  const { blockSize, blockCount } = superblock;
  if (blockCount * blockSize > source.size)
    throw new FormatError("truncated", `the image has ${blockCount} blocks, ${source.size} bytes are there`, {
      offset: source.size,
      expected: blockCount * blockSize,
      actual: source.size,
    });
  if (options.checksum !== "ignore") await verifyChecksum(source, superblock);
  await options.decompressor?.prepare?.(superblock.algorithms);
  const volume = await openVolume(source, superblock, options);
  const shared = xattrReader(volume, options.xattrPrefixes ?? PLAIN_PREFIXES);
  const root = await readInode(volume, superblock.rootNid);
  if (root.type !== "directory")
    throw new FormatError("bad-root", `root inode ${showNid(root.nid)} is a ${root.type}`, { offset: root.position });
  return {
    superblock,
    source,
    root,
    deviceTable: volume.deviceTable,
    inode: (nid) => readInode(volume, nid),
    lookup: (path) => lookup(volume, root, path),
    async readDirectory(inode) {
      const entries = await finish(directorySteps(volume, inode));
      return entries.filter(isBelow);
    },
    readEntries: (inode) => finish(directorySteps(volume, inode)),
    readlink: (inode) => finish(linkSteps(volume, inode)),
    content(inode) {
      if (inode.type !== "file") throw new TypeError(`inode ${showNid(inode.nid)} is a ${inode.type}`);
      return contentOf(volume, source, inode);
    },
    buffer: (size) => bufferOf(volume, size),
    xattrs: (inode) => readXattrs(shared, inode),
    xattr: (inode, name) => readXattr(shared, inode, name),
    async *extents(inode, from) {
      if (inode.type !== "file" && inode.type !== "directory" && inode.type !== "symlink") return;
      for await (const extent of flow(extentSteps(volume, inode, from))) {
        checkRange(volume, inode, extent);
        yield extent;
      }
    },
    metadataOf: (inode) => volume.metadataOf(inode),
    volume,
  };
}

async function openVolume(source: Source, superblock: Superblock, options: OpenErofsOptions): Promise<Volume> {
  const { devices = [] } = options;
  const metadata = cachedMetadata(source);
  const deviceTable = await readDeviceTable(source, superblock);
  if (devices.length > 0 && devices.length !== deviceTable.length)
    throw new FormatError(
      "bad-device",
      `the image has ${deviceTable.length} further devices, ${devices.length} were given`,
      { expected: deviceTable.length, actual: devices.length },
    );
  let packed: Promise<Source> | undefined;
  const volume: Volume & { metabox: Source | undefined } = {
    superblock,
    source,
    metadata,
    metabox: undefined,
    deviceTable,
    devices,
    decompressor: options.decompressor ?? pureDecompressor(),
    clusters: clusterCache(CLUSTER_CACHE),
    buffers: [],
    metadataOf: (inode) => metadataOf(volume, inode),
    packed() {
      packed ??= openPacked(volume);
      return packed;
    },
    place: (extent) => placeOn(volume, extent),
  };
  if (superblock.metaboxNid !== undefined) {
    const inode = await readInode(volume, superblock.metaboxNid);
    volume.metabox = cachedSource(contentOf(volume, source, inode), { blockSize: PIECE, maxBytes: CACHE_BYTES });
  }
  return volume;
}

async function openPacked(volume: Volume): Promise<Source> {
  const { packedNid } = volume.superblock;
  if (packedNid === undefined)
    throw new FormatError("no-packed-inode", "a fragment is asked for, the image has no packed inode");
  return contentOf(volume, volume.source, await readInode(volume, packedNid));
}

function readInode(volume: Volume, nid: number): Promise<ErofsInode> {
  return finish(inodeSteps(volume, nid));
}

async function lookup(volume: Volume, root: ErofsInode, path: string): Promise<ErofsInode | undefined> {
  const trail: ErofsInode[] = [root];
  for (const name of splitPath(path)) {
    const here = trail.at(-1) ?? root;
    if (here.type !== "directory") return undefined;
    if (name === "..") {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const entry = await findEntry(volume, here, name);
    if (entry === undefined) return undefined;
    trail.push(await readInode(volume, entry.nid));
  }
  return trail.at(-1);
}
