/**
 * ELF, byte for byte: the parts that say what a program needs to be loaded. Each table exists for both word sizes and
 * both byte orders. Spec: System V ABI, chapters 4 and 5 (Elf32_Ehdr, Elf64_Phdr, …); .note.dlopen: systemd.io/ELF_DLOPEN_METADATA.
 */
import { be, defineStruct, le, raw, u8 } from "../../bytes/index.ts";

export const IDENT_SIZE = 16; // bytes

/** e_ident: the same in every ELF file. */
export const RawIdent = /* @__PURE__ */ defineStruct("elf.ident", IDENT_SIZE, {
  magic: raw(0, 4), // 0x7f "ELF"
  class: u8(4), // 1: 32 bits, 2: 64 bits
  order: u8(5), // 1: little-endian, 2: big-endian
  version: u8(6), // 1
  abi: u8(7),
  abiVersion: u8(8),
  padding: raw(9, 7),
});

type Order = typeof le;

/** ElfN_Ehdr after e_ident; offsets count from there. */
const header32 = (o: Order) =>
  defineStruct("elf.header (32)", 36, {
    type: o.u16(0),
    machine: o.u16(2),
    version: o.u32(4),
    entry: o.u32(8), // address
    programHeaders: o.u32(12), // file offset
    sectionHeaders: o.u32(16), // file offset
    flags: o.u32(20),
    headerSize: o.u16(24), // bytes
    programHeaderSize: o.u16(26), // bytes of one
    programHeaderCount: o.u16(28),
    sectionHeaderSize: o.u16(30), // bytes of one
    sectionHeaderCount: o.u16(32),
    sectionNames: o.u16(34), // index
  });
const header64 = (o: Order) =>
  defineStruct("elf.header (64)", 48, {
    type: o.u16(0),
    machine: o.u16(2),
    version: o.u32(4),
    entry: o.u64Bits(8), // address
    programHeaders: o.u64(16), // file offset
    sectionHeaders: o.u64Bits(24), // file offset
    flags: o.u32(32),
    headerSize: o.u16(36), // bytes
    programHeaderSize: o.u16(38), // bytes of one
    programHeaderCount: o.u16(40),
    sectionHeaderSize: o.u16(42), // bytes of one
    sectionHeaderCount: o.u16(44),
    sectionNames: o.u16(46), // index
  });

/** ElfN_Phdr: a segment. */
const segment32 = (o: Order) =>
  defineStruct("elf.segment (32)", 32, {
    type: o.u32(0),
    offset: o.u32(4), // in the file
    address: o.u32(8),
    physicalAddress: o.u32(12),
    fileSize: o.u32(16), // bytes
    memorySize: o.u32(20), // bytes
    flags: o.u32(24),
    alignment: o.u32(28),
  });
const segment64 = (o: Order) =>
  defineStruct("elf.segment (64)", 56, {
    type: o.u32(0),
    flags: o.u32(4),
    offset: o.u64(8), // in the file
    address: o.u64(16),
    physicalAddress: o.u64Bits(24),
    fileSize: o.u64(32), // bytes
    memorySize: o.u64Bits(40), // bytes
    alignment: o.u64Bits(48),
  });

/** ElfN_Dyn. */
const dynamic32 = (o: Order) => defineStruct("elf.dynamic (32)", 8, { tag: o.u32(0), value: o.u32(4) });
const dynamic64 = (o: Order) => defineStruct("elf.dynamic (64)", 16, { tag: o.u64Bits(0), value: o.u64Bits(8) });

/** ElfN_Nhdr: name and description follow, each padded to 4 bytes. */
const note = (o: Order) =>
  defineStruct("elf.note", 12, {
    nameSize: o.u32(0), // bytes, the NUL included
    descriptionSize: o.u32(4), // bytes
    type: o.u32(8),
  });

/** The tables of one word size and byte order. */
export interface ElfTables {
  readonly header: ReturnType<typeof header32> | ReturnType<typeof header64>;
  readonly segment: ReturnType<typeof segment32> | ReturnType<typeof segment64>;
  readonly dynamic: ReturnType<typeof dynamic32> | ReturnType<typeof dynamic64>;
  readonly note: ReturnType<typeof note>;
}

const tables32 = (o: Order): ElfTables => ({
  header: header32(o),
  segment: segment32(o),
  dynamic: dynamic32(o),
  note: note(o),
});
const tables64 = (o: Order) => ({
  header: header64(o),
  segment: segment64(o),
  dynamic: dynamic64(o),
  note: note(o),
});

/** What every machine that Ashlar builds for has: 64 bits, little-endian. */
export const TABLES_64_LE = /* @__PURE__ */ tables64(le);

/** By word size and byte order as e_ident counts them. */
export const TABLES: Readonly<Record<1 | 2, Readonly<Record<1 | 2, ElfTables>>>> = {
  1: { 1: /* @__PURE__ */ tables32(le), 2: /* @__PURE__ */ tables32(be) },
  2: { 1: TABLES_64_LE, 2: /* @__PURE__ */ tables64(be) },
};

export const SEGMENT_LOAD = 1;
export const SEGMENT_DYNAMIC = 2;
export const SEGMENT_INTERPRETER = 3;
export const SEGMENT_NOTE = 4;
export const SEGMENT_HEADERS = 6; // PT_PHDR: the table of segments itself
/** Bits of a segment's flags. */
export const SEGMENT_READABLE = 4;

export const DYNAMIC_NULL = 0n;
export const DYNAMIC_NEEDED = 1n;
export const DYNAMIC_STRING_TABLE = 5n; // address
export const DYNAMIC_STRING_TABLE_SIZE = 10n; // bytes
export const DYNAMIC_SONAME = 14n;
export const DYNAMIC_RPATH = 15n;
export const DYNAMIC_RUNPATH = 29n;

/** Owner and type of a note that lists libraries opened at run time. */
export const DLOPEN_OWNER = "FDO";
export const DLOPEN_TYPE = 0x407c0c0a;
