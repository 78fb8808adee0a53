/**
 * GPT on-disk structures, byte for byte. Nothing here interprets; see read.ts.
 * Source: UEFI Specification 2.10, chapter 5: 5.2.3 Protective MBR, 5.3.2 GPT Header, 5.3.3 GPT Partition Entry Array.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";

/** Bytes; the ones disks have, and the ones we look for. */
export const SECTOR_SIZES = [512, 4096] as const;
export type SectorSize = (typeof SECTOR_SIZES)[number];

export const MBR_SIGNATURE = 0xaa55;
/** OSType of the one MBR partition that keeps tools which know no GPT away. */
export const MBR_PROTECTIVE_TYPE = 0xee;
/** As a little-endian CHS triple: cannot be said in CHS. */
export const MBR_CHS_MAX: Uint8Array = /* @__PURE__ */ Uint8Array.of(0xff, 0xff, 0xff);
/** Head 0, sector 2, cylinder 0: the CHS address of LBA 1. */
export const MBR_CHS_FIRST: Uint8Array = /* @__PURE__ */ Uint8Array.of(0x00, 0x02, 0x00);

/** Table 5.4, one MBR partition record. */
export const RawMbrPartition = /* @__PURE__ */ defineStruct("mbr.partition", 16, {
  bootIndicator: /* @__PURE__ */ u8(0),
  startingChs: /* @__PURE__ */ raw(1, 3),
  osType: /* @__PURE__ */ u8(4),
  endingChs: /* @__PURE__ */ raw(5, 3),
  startingLba: /* @__PURE__ */ le.u32(8), // sectors
  sizeInLba: /* @__PURE__ */ le.u32(12), // sectors
});

/** Table 5.3, the first 512 bytes of LBA 0; the rest of a larger sector is zero. */
export const RawMbr = /* @__PURE__ */ defineStruct("mbr", 512, {
  bootCode: /* @__PURE__ */ raw(0, 440),
  diskSignature: /* @__PURE__ */ le.u32(440),
  unknown: /* @__PURE__ */ le.u16(444),
  partition0: /* @__PURE__ */ raw(446, 16),
  partition1: /* @__PURE__ */ raw(462, 16),
  partition2: /* @__PURE__ */ raw(478, 16),
  partition3: /* @__PURE__ */ raw(494, 16),
  signature: /* @__PURE__ */ le.u16(510),
});

/** `EFI PART` */
export const HEADER_SIGNATURE = 0x5452415020494645n;
export const HEADER_REVISION = 0x00010000;

/** Table 5.5, the header at LBA 1 and in the last sector. The rest of the sector is zero. */
export const RawGptHeader = /* @__PURE__ */ defineStruct("gpt.header", 92, {
  signature: /* @__PURE__ */ le.u64Bits(0),
  revision: /* @__PURE__ */ le.u32(8),
  headerSize: /* @__PURE__ */ le.u32(12), // bytes
  headerCrc: /* @__PURE__ */ le.u32(16), // over headerSize bytes, this field zero
  reserved: /* @__PURE__ */ le.u32(20),
  myLba: /* @__PURE__ */ le.u64(24), // sectors, as all the LBAs here
  alternateLba: /* @__PURE__ */ le.u64(32),
  firstUsableLba: /* @__PURE__ */ le.u64(40),
  lastUsableLba: /* @__PURE__ */ le.u64(48), // inclusive
  diskGuid: /* @__PURE__ */ raw(56, 16), // mixed order
  entriesLba: /* @__PURE__ */ le.u64(72),
  entryCount: /* @__PURE__ */ le.u32(80),
  entrySize: /* @__PURE__ */ le.u32(84), // bytes, 128 × 2^n
  entriesCrc: /* @__PURE__ */ le.u32(88), // over entryCount × entrySize bytes
});

/** Table 5.6. An entry whose type is zero is unused. */
export const RawGptEntry = /* @__PURE__ */ defineStruct("gpt.entry", 128, {
  typeGuid: /* @__PURE__ */ raw(0, 16), // mixed order
  partitionGuid: /* @__PURE__ */ raw(16, 16), // mixed order
  startingLba: /* @__PURE__ */ le.u64(32), // sectors
  endingLba: /* @__PURE__ */ le.u64(40), // sectors, inclusive
  attributes: /* @__PURE__ */ le.u64Bits(48),
  name: /* @__PURE__ */ raw(56, 72), // UTF-16LE, NUL-padded
});

/** Entries that we write; UEFI asks for 16 KiB at least, which is this many. */
export const ENTRY_COUNT = 128;
/** What a reader takes before it calls a table absurd. */
export const MAX_ENTRY_COUNT = 1024;
/** Bytes. */
export const MAX_ENTRY_SIZE = 4096;
/** UTF-16 code units. */
export const MAX_NAME_LENGTH = 36;
/** Bytes. Partitions start at multiples of this, as every partitioning tool of today has it. */
export const PARTITION_ALIGNMENT = 1024 * 1024;
