/**
 * EROFS on-disk structures, byte for byte. Nothing here interprets; see read.ts and write.ts.
 * Spec: Linux fs/erofs/erofs_fs.h (GPL-2.0 or Apache-2.0; struct named at each table), as of 6.18.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";

export const SUPERBLOCK_OFFSET = 1024; // bytes; leaves room for an x86 boot sector
export const SUPERBLOCK_MAGIC = 0xe0f5e1e2;
export const INODE_SLOT_SIZE = 32; // bytes; a nid counts these slots from the metadata start
export const MIN_BLOCK_BITS = 9;
export const MAX_BLOCK_BITS = 16;
export const MAX_NAME_SIZE = 255; // bytes
export const MAX_SYMLINK_SIZE = 4095; // bytes; PATH_MAX without the terminator
export const NULL_BLOCK = 0xffffffff; // block address of a hole in a chunk table

/** Compatible features: a reader may ignore them, but for where two of them say that things lie. */
export const COMPAT = {
  superblockChecksum: 0x1,
  mtime: 0x2,
  xattrFilter: 0x4,
  sharedXattrsInMetabox: 0x8,
  plainXattrPrefixes: 0x10, // long prefixes stand in the image, not in the metabox or packed inode
  sharedContentXattr: 0x20, // ISHARE_XATTRS
} as const;

/** Incompatible features. Three bits have two meanings each: whoever has one must be ready for both. */
export const INCOMPAT = {
  zeroPadding: 0x1,
  compressionConfigs: 0x2, // or big clusters
  chunks: 0x4,
  deviceTable: 0x8, // or a second algorithm
  inlineClusters: 0x10,
  fragments: 0x20, // or deduplication
  xattrPrefixes: 0x40,
  bits48: 0x80,
  metabox: 0x100,
} as const;

/** struct erofs_super_block: the 128 bytes every image has. Extension slots of 16 bytes may follow. */
export const RawSuperblock = /* @__PURE__ */ defineStruct("erofs.superblock", 128, {
  magic: le.u32(0),
  checksum: le.u32(4), // crc32c register, see superblockChecksum
  featureCompat: le.u32(8),
  blockBits: u8(12), // log2 of the block size in bytes
  extensionSlots: u8(13), // each 16 bytes
  rootNidOrBlocksHi: le.u16(14), // union rb: root nid, or bits 32..47 of the block count (48BIT)
  inodeCount: le.u64(16),
  epoch: le.u64Bits(24), // signed seconds; mtime of compact inodes
  fixedNsec: le.u32(32), // nanoseconds of every compact inode's mtime
  blocksLo: le.u32(36), // blocks
  metaBlock: le.u32(40), // block where inode slots start
  xattrBlock: le.u32(44), // block where shared xattrs start
  uuid: raw(48, 16), // in text order
  volumeName: raw(64, 16), // NUL-terminated: 5.15 refuses a name that fills the field
  featureIncompat: le.u32(80),
  compression: le.u16(84), // union u1: algorithm bitmap, or LZ4 max distance
  extraDevices: le.u16(86),
  deviceTableSlot: le.u16(88), // byte offset / 128
  dirBlockBits: u8(90), // log2 of directory block size / block size
  xattrPrefixCount: u8(91),
  xattrPrefixStart: le.u32(92), // byte offset / 4
  packedNid: le.u64Bits(96),
  xattrFilter: u8(104),
  isharePrefixId: u8(105),
  reserved: raw(106, 2),
  buildTime: le.u32(108), // seconds after epoch (48BIT)
  rootNid64: le.u64Bits(112), // root nid when 48BIT is set
  reserved2: raw(120, 8),
});

/** The end of struct erofs_super_block: the first extension slot. */
export const RawSuperblockExtension = /* @__PURE__ */ defineStruct("erofs.superblock.extension", 16, {
  metaboxNid: le.u64Bits(0), // METABOX
  reserved: raw(8, 8),
});
export const EXTENSION_SLOT_SIZE = 16; // bytes

/** struct erofs_deviceslot */
export const RawDeviceSlot = /* @__PURE__ */ defineStruct("erofs.device", 128, {
  tag: raw(0, 64), // whatever names the device
  blocksLo: le.u32(64), // blocks
  addressLo: le.u32(68), // block at which it starts in a view of all devices as one; 0: in none
  blocksHi: le.u16(72), // 48BIT
  addressHi: le.u16(74), // 48BIT
  reserved: raw(76, 52),
});

/** Bit 63 of a nid on disk: the inode stands in the metabox inode. */
export const DISK_METABOX_BIT = 1n << 63n;
/** The same in a `number`, which has no bit 63: see parseNid. */
export const METABOX_BIT = 2 ** 52;
export const MAX_SLOTS = 2 ** 48; // slots of 32 bytes in 2^53 bytes

/** struct erofs_inode_compact */
export const RawInodeCompact = /* @__PURE__ */ defineStruct("erofs.inode.compact", 32, {
  format: le.u16(0), // bit 0: extended; bits 1..3: data layout; bit 4: nlink is 1 (48BIT)
  xattrICount: le.u16(2), // 0, or 1 + (xattr bytes - 12) / 4
  mode: le.u16(4),
  nb: le.u16(6), // union i_nb: nlink, or with FORMAT_SHORT bits 32..47 of u
  fileSize: le.u32(8), // bytes
  mtime: le.u32(12), // seconds after the superblock's epoch (48BIT), else reserved
  u: le.u32(16), // union i_u: start block, device number, compressed blocks or chunk format
  ino: le.u32(20), // 32-bit stat only
  uid: le.u16(24),
  gid: le.u16(26),
  reserved: le.u32(28),
});

/** struct erofs_inode_extended */
export const RawInodeExtended = /* @__PURE__ */ defineStruct("erofs.inode.extended", 64, {
  format: le.u16(0),
  xattrICount: le.u16(2),
  mode: le.u16(4),
  nb: le.u16(6), // union i_nb: bits 32..47 of u (48BIT), else reserved
  fileSize: le.u64(8), // bytes
  u: le.u32(16),
  ino: le.u32(20),
  uid: le.u32(24),
  gid: le.u32(28),
  mtime: le.u64Bits(32), // signed seconds since 1970
  mtimeNsec: le.u32(40), // nanoseconds
  nlink: le.u32(44),
  reserved: raw(48, 16),
});

export const FORMAT_EXTENDED = 1; // bit 0 of an inode's format
export const FORMAT_LAYOUT_SHIFT = 1;
export const FORMAT_LAYOUT_MASK = 7;
export const FORMAT_SHORT = 0x10; // 48BIT: a directory has no entry `.`; or any other compact inode has one link
export const FORMAT_KNOWN_BITS = 0x1f;

/** Index is the on-disk value, bits 1..3 of an inode's `format`. */
export const DATA_LAYOUTS = [
  "flat-plain",
  "compressed-full",
  "flat-inline",
  "compressed-compact",
  "chunk-based",
] as const;
export type DataLayout = (typeof DATA_LAYOUTS)[number];

export const CHUNK_BITS_MASK = 0x1f; // of the chunk format: log2 of chunk size / block size
export const CHUNK_INDEXES = 0x20; // 8-byte indexes instead of 4-byte block addresses
export const CHUNK_48BIT = 0x40; // indexes have bits 32..47 of the address
export const CHUNK_KNOWN_BITS = 0x7f;

/** __le32 block address: an entry of a chunk table without CHUNK_INDEXES. */
export const RawChunkAddress = /* @__PURE__ */ defineStruct("erofs.chunk.address", 4, { block: le.u32(0) });

/** struct erofs_inode_chunk_index */
export const RawChunkIndex = /* @__PURE__ */ defineStruct("erofs.chunk.index", 8, {
  blockHi: le.u16(0), // bits 32..47 of the block address (48BIT)
  deviceId: le.u16(2), // 0: this device
  block: le.u32(4),
});

/** struct erofs_dirent: `count` of them open each directory block, then the names follow. */
export const RawDirent = /* @__PURE__ */ defineStruct("erofs.dirent", 12, {
  nid: le.u64Bits(0),
  nameOffset: le.u16(8), // bytes from the start of the directory block; the first one gives the count
  fileType: u8(10), // generic FT_* value, see FILE_TYPES
  reserved: u8(11),
});

/** FT_* of Linux fs_types: index is the on-disk value. */
export const FILE_TYPES = [undefined, "file", "directory", "character", "block", "fifo", "socket", "symlink"] as const;

/** Bits of an xattr name filter. */
export const XATTR_FILTER_BITS = 32;
export const XATTR_FILTER_SEED = 0x25bbe08f; // plus the index of the short prefix

/** struct erofs_xattr_ibody_header; shared ids (u32 each) and inline entries follow. */
export const RawXattrHeader = /* @__PURE__ */ defineStruct("erofs.xattr.header", 12, {
  nameFilter: le.u32(0), // with XATTR_FILTER: a bit that is 1 says that no name with this hash is there
  sharedCount: u8(4),
  reserved: raw(5, 7),
});

/** A shared xattr id: 4-byte units from the shared area's start. */
export const RawXattrId = /* @__PURE__ */ defineStruct("erofs.xattr.id", 4, { id: le.u32(0) });
export const XATTR_UNIT = 4; // bytes; entries are aligned to it

/** struct erofs_xattr_entry; name (without its prefix) and value follow, then zeros up to XATTR_UNIT. */
export const RawXattrEntry = /* @__PURE__ */ defineStruct("erofs.xattr.entry", 4, {
  nameSize: u8(0), // bytes
  nameIndex: u8(1), // index in XATTR_PREFIXES; bit 7: a long prefix
  valueSize: le.u16(2), // bytes
});

export const LONG_PREFIX_BIT = 0x80; // of nameIndex; the other bits number the image's own prefixes

/** struct erofs_xattr_long_prefix, behind a u16 of its size; the rest of the prefix follows. 4-byte aligned. */
export const RawLongPrefix = /* @__PURE__ */ defineStruct("erofs.xattr.prefix", 3, {
  size: le.u16(0), // bytes behind this field
  baseIndex: u8(2), // index in XATTR_PREFIXES
});
export const LONG_PREFIX_UNIT = 4; // bytes; of xattrPrefixStart

/** Name prefixes; index is the on-disk value. `whole` names have nothing after the prefix. */
export const XATTR_PREFIXES: readonly ({ readonly prefix: string; readonly whole: boolean } | undefined)[] = [
  undefined,
  { prefix: "user.", whole: false },
  { prefix: "system.posix_acl_access", whole: true },
  { prefix: "system.posix_acl_default", whole: true },
  { prefix: "trusted.", whole: false },
  undefined, // lustre.: never in use outside its own kernel
  { prefix: "security.", whole: false },
];

/** Bytes from SUPERBLOCK_OFFSET on that the checksum covers (erofs_superblock_csum_verify). */
export function checksummedSize(blockSize: number): number {
  return blockSize > SUPERBLOCK_OFFSET ? blockSize - SUPERBLOCK_OFFSET : blockSize;
}

/** Bytes at the start of the image that hold the superblock, in whole blocks: one block where it has 2 KiB or more. */
export function headSize(blockSize: number): number {
  return Math.ceil((SUPERBLOCK_OFFSET + checksummedSize(blockSize)) / blockSize) * blockSize;
}

/** Bytes of inline xattrs, header included, that an inode's `xattrICount` stands for. */
export function xattrBodySize(xattrICount: number): number {
  return xattrICount === 0 ? 0 : RawXattrHeader.size + (xattrICount - 1) * XATTR_UNIT;
}
