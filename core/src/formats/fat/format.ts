/**
 * FAT32 with long names, byte for byte. Nothing here interprets; see read.ts and write.ts.
 * Spec: Microsoft FAT32 File System Specification 1.03 (fatgen103), which UEFI 2.10 section 13.3 points to.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";

/** Offset of the boot sector's 55 AA, whatever the sector size. */
export const BOOT_SIGNATURE_OFFSET = 510;
export const BOOT_SIGNATURE = 0xaa55;

/** Boot sector: BPB, FAT32 part and extended boot record (fatgen103, "Boot Sector and BPB"). */
export const RawBootSector = /* @__PURE__ */ defineStruct("fat.boot sector", 512, {
  jump: raw(0, 3),
  oemName: raw(3, 8),
  sectorSize: le.u16(11), // bytes
  clusterSectors: u8(13), // sectors of one cluster
  reservedSectors: le.u16(14), // sectors before the first FAT
  fatCount: u8(16),
  rootEntries16: le.u16(17), // FAT12/16 only
  totalSectors16: le.u16(19), // FAT12/16 only
  media: u8(21),
  fatSectors16: le.u16(22), // FAT12/16 only
  trackSectors: le.u16(24),
  heads: le.u16(26),
  hiddenSectors: le.u32(28), // sectors before the partition
  totalSectors: le.u32(32),

  fatSectors: le.u32(36), // sectors of one FAT
  extendedFlags: le.u16(40), // bit 7: one FAT is active, its number in bits 0..3
  version: le.u16(42),
  rootCluster: le.u32(44),
  infoSector: le.u16(48),
  backupSector: le.u16(50), // where the copy of sectors 0 and 1 is
  reserved: raw(52, 12),

  driveNumber: u8(64),
  dirty: u8(65), // Linux: bit 0 while mounted read-write
  extendedSignature: u8(66), // 0x29: the three fields that follow are there
  volumeId: le.u32(67),
  label: raw(71, 11),
  typeName: raw(82, 8),

  code: raw(90, 420),
  signature: le.u16(510),
});

/** FSInfo (fatgen103, "FAT32 FSInfo Sector Structure"). */
export const RawInfoSector = /* @__PURE__ */ defineStruct("fat.info sector", 512, {
  leadSignature: le.u32(0),
  reserved: raw(4, 480),
  signature: le.u32(484),
  freeClusters: le.u32(488), // 0xffffffff where unknown
  nextFree: le.u32(492), // hint: where to look for a free cluster
  reserved2: raw(496, 12),
  trailSignature: le.u32(508),
});

export const INFO_LEAD_SIGNATURE = 0x41615252;
export const INFO_SIGNATURE = 0x61417272;
export const INFO_TRAIL_SIGNATURE = 0xaa550000;

/** Short directory entry (fatgen103, "FAT Directory Structure"). */
export const RawEntry = /* @__PURE__ */ defineStruct("fat.directory entry", 32, {
  name: raw(0, 11), // base and extension, upper case, padded with spaces
  attributes: u8(11),
  caseFlags: u8(12), // Windows NT: 0x08 base in lower case, 0x10 extension
  createdTenths: u8(13), // 10 ms, 0 to 199
  createdTime: le.u16(14),
  createdDate: le.u16(16),
  accessedDate: le.u16(18),
  clusterHigh: le.u16(20),
  writtenTime: le.u16(22), // hours << 11 | minutes << 5 | seconds / 2
  writtenDate: le.u16(24), // (year - 1980) << 9 | month << 5 | day
  clusterLow: le.u16(26),
  size: le.u32(28), // bytes; 0 for directories
});

/** One piece of a long name; pieces stand before their short entry, last piece first. */
export const RawLongName = /* @__PURE__ */ defineStruct("fat.long name", 32, {
  order: u8(0), // 1, 2, …; 0x40 is set in the last piece
  units1: raw(1, 10), // UTF-16LE
  attributes: u8(11), // ATTRIBUTES_LONG_NAME
  type: u8(12),
  checksum: u8(13), // of the short name
  units2: raw(14, 12),
  cluster: le.u16(26),
  units3: raw(28, 4),
});

export const ENTRY_SIZE = 32; // bytes
export const UNITS_PER_PIECE = 13; // UTF-16 units
export const MAX_NAME_UNITS = 255; // UTF-16 units
export const LAST_PIECE = 0x40;

export const ATTRIBUTE_VOLUME = 0x08;
export const ATTRIBUTE_DIRECTORY = 0x10;
export const ATTRIBUTE_ARCHIVE = 0x20;
export const ATTRIBUTES_LONG_NAME = 0x0f;
export const LONG_NAME_MASK = 0x3f;

export const CASE_BASE_LOWER = 0x08;
export const CASE_EXTENSION_LOWER = 0x10;

/** First byte of a directory entry. */
export const ENTRY_END = 0x00;
export const ENTRY_DELETED = 0xe5;
/** Stands for a first byte of 0xe5 that is meant (Kanji). */
export const ENTRY_ESCAPED_E5 = 0x05;

/** FAT entries: the upper four bits are reserved. */
export const CLUSTER_MASK = 0x0fffffff;
export const CLUSTER_FREE = 0;
export const CLUSTER_BAD = 0x0ffffff7;
export const CLUSTER_END_MIN = 0x0ffffff8;
export const CLUSTER_END = 0x0fffffff;
/** The first cluster of the data area has this number. */
export const FIRST_CLUSTER = 2;

/** Fewer clusters than this is FAT12 or FAT16, by definition. */
export const MIN_CLUSTERS = 65525;
export const MAX_CLUSTERS = 0x0ffffff5;

/** A directory has at most this many bytes: 65536 entries. */
export const MAX_DIRECTORY_SIZE = 2 * 1024 * 1024;
export const MAX_FILE_SIZE = 0xffffffff; // bytes

/** Checksum of a short name that each piece of its long name carries (fatgen103, ChkSum). */
export function shortNameChecksum(name: Uint8Array): number {
  let sum = 0;
  for (const byte of name) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff;
  return sum;
}
