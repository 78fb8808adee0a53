/**
 * EROFS on-disk structures of compressed inodes, byte for byte. Nothing here interprets; see map-index.ts and
 * map-encoded.ts. A map header stands behind inode and xattrs, at the next multiple of 8; an index follows it.
 * Spec: Linux fs/erofs/erofs_fs.h (GPL-2.0 or Apache-2.0; struct named at each table), as of 6.18.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";

export const MAX_CLUSTER_SIZE = 1024 * 1024; // bytes; of a physical cluster as it is stored
export const MAX_CLUSTER_CONTENT = 12 * 1024 * 1024; // bytes; what a physical cluster yields

/** Z_EROFS_COMPRESSION_*: index is the on-disk value. lzma there is MicroLZMA, deflate a raw stream. */
export const ALGORITHMS = ["lz4", "microlzma", "deflate", "zstd"] as const;

export const MAP_HEADER_ALIGNMENT = 8; // bytes

/** struct z_erofs_map_header, with indexes of logical clusters. */
export const RawMapHeader = /* @__PURE__ */ defineStruct("erofs.map.header", 8, {
  fragmentOffset: le.u32(0), // bytes in the packed inode; or in its upper half the stored bytes of the inline cluster
  advise: le.u16(4), // ADVISE
  algorithms: u8(6), // bits 0..3: of HEAD1, bits 4..7: of HEAD2
  clusterBits: u8(7), // bits 0..3: log2 of logical cluster size / block size; bit 7: see WHOLE_FRAGMENT
});

/** struct z_erofs_map_header where ADVISE.encodedExtents is set; bits 0..3 of its last byte are clusterBits as well. */
export const RawExtentsHeader = /* @__PURE__ */ defineStruct("erofs.extents.header", 8, {
  countLo: le.u32(0), // extents
  advise: le.u16(4), // ADVISE
  countHi: le.u16(6), // bits 32..47 of the count; or clusterBits in its upper half
});

/** The same 8 bytes where bit 63 is set: the rest is the place of the whole file in the packed inode. */
export const RawWholeFragment = /* @__PURE__ */ defineStruct("erofs.map.fragment", 8, { bits: le.u64Bits(0) });
export const WHOLE_FRAGMENT = 1n << 63n;

/** Bits of `advise`. */
export const ADVISE = {
  compacted2B: 0x1, // compact layout: packs of 16 entries
  encodedExtents: 0x1, // full layout
  bigHead1: 0x2, // clusters of HEAD1 may take more than one block
  bigHead2: 0x4, // the same of HEAD2, and of plain ones
  inlineCluster: 0x8, // the last cluster stands behind the index
  interlaced: 0x10, // plain clusters are rotated: a byte lies at its offset in the file modulo the block size
  fragment: 0x20, // the last extent lies in the packed inode
} as const;
export const ADVISE_RECORD_SHIFT = 1; // encoded extents: bits 1..2 say the size of a record
export const ADVISE_RECORD_MASK = 3;
export const CLUSTER_BITS_MASK = 15;

/** Z_EROFS_LCLUSTER_TYPE_*: what begins in a logical cluster. */
export const CLUSTER_PLAIN = 0;
export const CLUSTER_HEAD1 = 1;
export const CLUSTER_NONHEAD = 2; // nothing
export const CLUSTER_HEAD2 = 3;
export const CLUSTER_TYPE_MASK = 3;
export const FULL_INDEX_PADDING = 8; // bytes between map header and full index

/** struct z_erofs_lcluster_index: an entry of a full index. */
export const RawClusterIndex = /* @__PURE__ */ defineStruct("erofs.cluster.index", 8, {
  advise: le.u16(0), // bits 0..1: type; PARTIAL_REFERENCE
  offset: le.u16(2), // of a head: bytes from the start of the logical cluster to that of its extent
  block: le.u32(4), // of a head: block address; else two u16: distances to the head before and to the next
});
export const PARTIAL_REFERENCE = 0x8000; // the cluster yields more than this extent
export const BLOCK_COUNT_FLAG = 0x800; // of the first distance: the low 11 bits are the blocks of the cluster

/**
 * A pack of a compact index: `entries` bit fields of type (2 bits) over a number (`COMPACT_NUMBER_BITS` or as many as a
 * logical cluster's size has, if more), then a u32 block address. A head's number is its offset, else the distance to the
 * head before or the blocks of the cluster; of the last entry the distance to the next head.
 */
export const COMPACT_PACKS = {
  four: { size: 8, entries: 2 }, // 4 bytes an entry
  two: { size: 32, entries: 16 }, // 2 bytes an entry
} as const;
export const COMPACT_NUMBER_BITS = 12;
export const COMPACT_ALIGNMENT = 32; // bytes; where packs of 16 begin
export const MAX_COMPACT_CLUSTER_BITS = 14; // log2 of the largest logical cluster of packs of 2
export const MAX_COMPACT_2B_CLUSTER_BITS = 12; // the same of packs of 16

/** struct z_erofs_extent; records of 4, 8 and 16 bytes are its beginning. */
export const RawEncodedExtent = /* @__PURE__ */ defineStruct("erofs.extent", 32, {
  storedSize: le.u32(0), // EXTENT_*
  startLo: le.u32(4), // bytes from the start of the image
  startHi: le.u32(8),
  atLo: le.u32(12), // bytes from the start of the file
  atHi: le.u32(16),
  reserved: raw(20, 12),
});
/** With records of 4 bytes: where the first cluster starts, in bytes; the others follow it. */
export const RawExtentsStart = /* @__PURE__ */ defineStruct("erofs.extents.start", 8, { start: le.u64(0) });
export const EXTENT_SIZE_MASK = 0x1fffff; // bytes; 0 is a hole
export const EXTENT_PARTIAL = 0x8000000; // as PARTIAL_REFERENCE
export const EXTENT_FORMAT_SHIFT = 28; // 0: plain, else 1 + number of the algorithm

/** struct z_erofs_lz4_cfgs and its kin: each behind a u16 of its size, in the order of their bits, 4-byte aligned. */
export const RawLz4Config = /* @__PURE__ */ defineStruct("erofs.config.lz4", 14, {
  maxDistance: le.u16(0), // bytes that a match reaches back; 0: 65535
  maxClusterBlocks: le.u16(2), // blocks
  reserved: raw(4, 10),
});
export const RawLzmaConfig = /* @__PURE__ */ defineStruct("erofs.config.lzma", 14, {
  dictionarySize: le.u32(0), // bytes
  format: le.u16(4), // 0: MicroLZMA
  reserved: raw(6, 8),
});
export const RawDeflateConfig = /* @__PURE__ */ defineStruct("erofs.config.deflate", 6, {
  windowBits: u8(0), // log2 of bytes
  reserved: raw(1, 5),
});
export const RawZstdConfig = /* @__PURE__ */ defineStruct("erofs.config.zstd", 6, {
  format: u8(0), // 0: frames
  windowLog: u8(1), // log2 of bytes, less 10
  reserved: raw(2, 4),
});
export const MAX_LZMA_DICTIONARY = 8 * 1024 * 1024; // bytes
export const ZSTD_MIN_WINDOW_LOG = 10;
