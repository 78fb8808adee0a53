/**
 * Opens an EROFS image: superblock, inodes, and from them directories, links, contents and xattrs. Lazy: nothing but
 * the superblock and the root inode is read in advance. Compressed contents come with issue 6.
 */
import { type ByteString, byteString, crc32cRegister } from "../../bytes/index.ts";
import { FormatError, IntegrityError, UnsupportedError } from "../../errors/index.ts";
import { cachedSource, type Source } from "../../source/index.ts";
import { type NodeType, splitPath, TYPE_BITS } from "../../tree/index.ts";
import { contentOf, metadataBytes } from "./content.ts";
import {
  COMPAT,
  checksummedSize,
  DATA_LAYOUTS,
  type DataLayout,
  FORMAT_EXTENDED,
  FORMAT_KNOWN_BITS,
  FORMAT_LAYOUT_MASK,
  FORMAT_LAYOUT_SHIFT,
  INCOMPAT_NAMES,
  INODE_SLOT_SIZE,
  MAX_BLOCK_BITS,
  MAX_SYMLINK_SIZE,
  MIN_BLOCK_BITS,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
  xattrBodySize,
} from "./format.ts";
import { type DirectoryEntry, findEntry, readEntries } from "./read-directory.ts";
import { PLAIN_PREFIXES, readXattrs, type SharedXattrs, type XattrPrefixes } from "./read-xattrs.ts";

/** ZERO_PADDING only says how compressed data would lie; mkfs.erofs sets it on plain images too. CHUNKED_FILE is read. */
const SUPPORTED_INCOMPAT = 0x1 | 0x4;

export interface Superblock {
  /** Bytes. */
  readonly blockSize: number;
  readonly blockCount: number;
  readonly inodeCount: number;
  readonly rootNid: number;
  /** Bytes from the start of the image to inode slot 0. */
  readonly metaStart: number;
  /** Bytes from the start of the image to the shared xattrs. */
  readonly xattrStart: number;
  /** mtime of compact inodes, nanoseconds since 1970. */
  readonly epoch: bigint;
  /** 16 bytes in text order. */
  readonly uuid: Uint8Array;
  readonly volumeName: ByteString;
  readonly featureCompat: number;
  readonly featureIncompat: number;
}

export interface ErofsInode {
  readonly nid: number;
  readonly type: NodeType;
  /** Low 12 bits of `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint;
  readonly links: number;
  /** Bytes of content, link target or directory. */
  readonly size: number;
  readonly layout: DataLayout;
  readonly isExtended: boolean;
  /** Bytes from the start of the image. */
  readonly position: number;
  /** Bytes of the inode alone; xattrs follow. */
  readonly inodeSize: number;
  /** Bytes. */
  readonly xattrSize: number;
  /** The union i_u as it stands: start block, device number or chunk format, by type and layout. */
  readonly u: number;
}

export interface ErofsImage {
  readonly superblock: Superblock;
  readonly source: Source;
  readonly root: ErofsInode;
  inode(nid: number): Promise<ErofsInode>;
  /** The inode at exactly this path; links are not followed, `..` goes up. Undefined where nothing is. */
  lookup(path: string): Promise<ErofsInode | undefined>;
  /** Without `.` and `..`, in the order of the image. */
  readDirectory(inode: ErofsInode): Promise<DirectoryEntry[]>;
  readlink(inode: ErofsInode): Promise<ByteString>;
  /** Content of a regular file. Where its layout is not implemented each read rejects with UnsupportedError. */
  content(inode: ErofsInode): Source;
  xattrs(inode: ErofsInode): Promise<ReadonlyMap<ByteString, Uint8Array>>;
}

export interface OpenErofsOptions {
  /** A wrong superblock checksum is an IntegrityError unless it is to be ignored. Images without one are read. */
  readonly checksum?: "verify" | "ignore" | undefined;
  /** For images whose xattr names follow other rules, as those of composefs do. */
  readonly xattrPrefixes?: XattrPrefixes | undefined;
}

/** Metadata is read in pieces of this many bytes and remembered, so that one inode is not one read. */
const CACHE = { blockSize: 64 * 1024, maxBytes: 8 * 1024 * 1024 };

/**
 * Throws FormatError for what is not an EROFS image or is cut off, UnsupportedError `erofs-feature` naming unknown
 * incompatible features, IntegrityError `superblock-checksum`.
 */
export async function openErofs(source: Source, options: OpenErofsOptions = {}): Promise<ErofsImage> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size)
    throw new FormatError("truncated", `not an EROFS image: ${source.size} bytes hold no superblock`);
  const superblock = parseSuperblock(await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size));
  const { blockSize, blockCount } = superblock;
  if (blockCount * blockSize > source.size)
    throw new FormatError("truncated", `the image has ${blockCount} blocks, ${source.size} bytes are there`, {
      expected: blockCount * blockSize,
      actual: source.size,
    });
  if (options.checksum !== "ignore") await verifyChecksum(source, superblock);
  const metadata = cachedSource(source, CACHE);
  const prefixes = options.xattrPrefixes ?? PLAIN_PREFIXES;
  const sharedXattrs: SharedXattrs = { byId: new Map(), bytes: 0, prefixes };
  const readInode = async (nid: number): Promise<ErofsInode> => {
    const position = superblock.metaStart + nid * INODE_SLOT_SIZE;
    if (!Number.isSafeInteger(position) || nid < 0 || position + RawInodeCompact.size > source.size)
      throw new FormatError("nid-out-of-range", `inode ${nid} lies outside the image`, { offset: position });
    const length = Math.min(RawInodeExtended.size, source.size - position);
    return parseInode(await metadata.read(position, length), nid, superblock);
  };
  const root = await readInode(superblock.rootNid);
  if (root.type !== "directory")
    throw new FormatError("bad-root", `root inode ${root.nid} is a ${root.type}`, { offset: root.position });
  const image: ErofsImage = {
    superblock,
    source,
    root,
    inode: readInode,
    async lookup(path) {
      const trail: ErofsInode[] = [root];
      for (const name of splitPath(path)) {
        const here = trail.at(-1) ?? root;
        if (here.type !== "directory") return undefined;
        if (name === "..") {
          if (trail.length > 1) trail.pop();
          continue;
        }
        const entry = await findEntry(image, metadata, here, name);
        if (entry === undefined) return undefined;
        trail.push(await readInode(entry.nid));
      }
      return trail.at(-1);
    },
    async readDirectory(inode) {
      const entries = await readEntries(image, metadata, inode);
      return entries.filter(({ name }) => name !== "." && name !== "..");
    },
    async readlink(inode) {
      if (inode.type !== "symlink") throw new TypeError(`inode ${inode.nid} is a ${inode.type}`);
      if (inode.size === 0 || inode.size > MAX_SYMLINK_SIZE)
        throw new FormatError("bad-link", `link target of inode ${inode.nid} has ${inode.size} bytes`, {
          offset: inode.position,
        });
      const target = byteString(await metadataBytes(image, metadata, inode, MAX_SYMLINK_SIZE));
      if (target.includes("\0"))
        throw new FormatError("bad-link", `link target of inode ${inode.nid} holds a NUL`, { offset: inode.position });
      return target;
    },
    content(inode) {
      if (inode.type !== "file") throw new TypeError(`inode ${inode.nid} is a ${inode.type}`);
      return contentOf(image, source, inode);
    },
    xattrs: (inode) => readXattrs(image, metadata, inode, sharedXattrs),
  };
  return image;
}

/** Checks and interprets the superblock. `bytes` starts at SUPERBLOCK_OFFSET of the image. */
export function parseSuperblock(bytes: Uint8Array): Superblock {
  const raw = RawSuperblock.view(bytes);
  if (raw.magic !== SUPERBLOCK_MAGIC)
    throw new FormatError("bad-magic", `not an EROFS image: magic is 0x${raw.magic.toString(16)}`, {
      offset: SUPERBLOCK_OFFSET,
    });
  if (raw.blockBits < MIN_BLOCK_BITS || raw.blockBits > MAX_BLOCK_BITS)
    throw new FormatError("bad-block-size", `block size 2^${raw.blockBits} is outside 512 B to 64 KiB`);
  refuseFeatures(raw.featureIncompat);
  if (raw.extraDevices > 0)
    throw new UnsupportedError("erofs-feature", `the image spreads over ${raw.extraDevices} more devices`);
  if (raw.dirBlockBits !== 0)
    throw new UnsupportedError("erofs-feature", `directory blocks of 2^${raw.dirBlockBits} blocks are not implemented`);
  const blockSize = 2 ** raw.blockBits;
  const name = byteString(raw.volumeName);
  const end = name.indexOf("\0");
  return {
    blockSize,
    blockCount: raw.blocksLo,
    inodeCount: raw.inodeCount,
    rootNid: raw.rootNidOrBlocksHi,
    metaStart: raw.metaBlock * blockSize, // a multiplication, so that it cannot wrap at 32 bits as << would
    xattrStart: raw.xattrBlock * blockSize,
    epoch: nanoseconds(raw.epoch, raw.fixedNsec),
    uuid: raw.uuid.slice(),
    volumeName: (end < 0 ? name : name.slice(0, end)) as ByteString,
    featureCompat: raw.featureCompat,
    featureIncompat: raw.featureIncompat,
  };
}

function refuseFeatures(incompat: number): void {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const value = 2 ** bit;
    if ((incompat & value) !== 0 && (SUPPORTED_INCOMPAT & value) === 0)
      names.push(INCOMPAT_NAMES[value] ?? `0x${value.toString(16)}`);
  }
  if (names.length > 0)
    throw new UnsupportedError("erofs-feature", `incompatible EROFS features are not implemented: ${names.join(", ")}`);
}

/** Recomputes the checksum. True where there is none to compare with. */
export async function checksumMatches(source: Source, { blockSize, featureCompat }: Superblock): Promise<boolean> {
  if ((featureCompat & COMPAT.superblockChecksum) === 0) return true;
  const length = Math.min(checksummedSize(blockSize), source.size - SUPERBLOCK_OFFSET);
  const covered = new Uint8Array(await source.read(SUPERBLOCK_OFFSET, length)); // a copy; `slice` of a Buffer is none
  const { checksum } = RawSuperblock.view(covered);
  const { offset, size } = RawSuperblock.fields.checksum;
  covered.fill(0, offset, offset + size);
  return crc32cRegister(covered, 0xffffffff) === checksum;
}

async function verifyChecksum(source: Source, superblock: Superblock): Promise<void> {
  if (!(await checksumMatches(source, superblock)))
    throw new IntegrityError("superblock-checksum", "the checksum of the EROFS superblock does not match", {
      offset: SUPERBLOCK_OFFSET,
    });
}

function nanoseconds(seconds: bigint, nsec: number): bigint {
  return BigInt.asIntN(64, seconds) * 1_000_000_000n + BigInt(nsec);
}

const TYPES_BY_BITS = /* @__PURE__ */ new Map(
  (Object.entries(TYPE_BITS) as [NodeType, number][]).map(([type, bits]) => [bits, type] as const),
);

/** Interprets an inode. `bytes` starts at it and holds 64 bytes where the image does. */
export function parseInode(bytes: Uint8Array, nid: number, superblock: Superblock): ErofsInode {
  const position = superblock.metaStart + nid * INODE_SLOT_SIZE;
  const compact = RawInodeCompact.view(bytes);
  const layout = DATA_LAYOUTS[(compact.format >> FORMAT_LAYOUT_SHIFT) & FORMAT_LAYOUT_MASK];
  if ((compact.format & ~FORMAT_KNOWN_BITS) !== 0 || layout === undefined)
    throw new UnsupportedError(
      "inode-format",
      `format 0x${compact.format.toString(16)} of inode ${nid} is not implemented`,
      { offset: position },
    );
  const type = TYPES_BY_BITS.get(compact.mode & 0o170000);
  if (type === undefined)
    throw new FormatError("bad-mode", `inode ${nid} has mode 0o${compact.mode.toString(8)}`, { offset: position });
  const common = { nid, type, layout, position, xattrSize: xattrBodySize(compact.xattrICount) };
  if ((compact.format & FORMAT_EXTENDED) === 0) {
    const { mode, uid, gid, nb, fileSize, u } = compact;
    const own = { mode: mode & 0o7777, uid, gid, mtime: superblock.epoch, links: nb, size: fileSize, u };
    return { ...common, ...own, isExtended: false, inodeSize: RawInodeCompact.size };
  }
  const { mode, uid, gid, nlink, mtime, mtimeNsec, fileSize, u } = RawInodeExtended.view(bytes);
  const time = nanoseconds(mtime, mtimeNsec);
  const own = { mode: mode & 0o7777, uid, gid, mtime: time, links: nlink, size: fileSize, u };
  return { ...common, ...own, isExtended: true, inodeSize: RawInodeExtended.size };
}

/** Unpacks Linux's new_encode_dev. */
export function deviceNumbers({ u }: ErofsInode): { readonly major: number; readonly minor: number } {
  return { major: (u >>> 8) & 0xfff, minor: (u & 0xff) | ((u >>> 12) & 0xfff00) };
}

/** Whether the magic of a superblock is where it should be. */
export async function isErofs(source: Source): Promise<boolean> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size) return false;
  return RawSuperblock.view(await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size)).magic === SUPERBLOCK_MAGIC;
}
