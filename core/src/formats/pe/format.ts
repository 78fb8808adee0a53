/**
 * PE32+ images, byte for byte. Nothing here interprets; see read.ts and write.ts.
 * Spec: Microsoft PE Format (learn.microsoft.com/windows/win32/debug/pe-format); UKI: UAPI.5.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";

/** MS-DOS header. Only the magic and the place of the PE header mean anything. */
export const RawDosHeader = /* @__PURE__ */ defineStruct("pe.dos header", 64, {
  magic: le.u16(0), // "MZ"
  dos: raw(2, 58),
  peOffset: le.u32(60), // bytes from the start of the file
});

/** Signature and COFF file header. */
export const RawFileHeader = /* @__PURE__ */ defineStruct("pe.file header", 24, {
  signature: le.u32(0), // "PE\0\0"
  machine: le.u16(4),
  sectionCount: le.u16(6),
  timestamp: le.u32(8), // seconds since 1970, or a hash
  symbolTable: le.u32(12), // file offset; deprecated in images
  symbolCount: le.u32(16),
  optionalHeaderSize: le.u16(20), // bytes, data directories included
  characteristics: le.u16(22),
});

/** Optional header of PE32+, up to the data directories. */
export const RawOptionalHeader = /* @__PURE__ */ defineStruct("pe.optional header", 112, {
  magic: le.u16(0), // 0x20b; 0x10b is PE32
  linkerMajor: u8(2),
  linkerMinor: u8(3),
  codeSize: le.u32(4), // bytes, of all sections of code
  initializedDataSize: le.u32(8),
  uninitializedDataSize: le.u32(12),
  entryPoint: le.u32(16), // address
  codeBase: le.u32(20), // address
  imageBase: le.u64Bits(24),
  sectionAlignment: le.u32(32), // bytes, in memory
  fileAlignment: le.u32(36), // bytes, in the file
  osMajor: le.u16(40),
  osMinor: le.u16(42),
  imageMajor: le.u16(44),
  imageMinor: le.u16(46),
  subsystemMajor: le.u16(48),
  subsystemMinor: le.u16(50),
  win32Version: le.u32(52),
  imageSize: le.u32(56), // bytes in memory, a multiple of sectionAlignment
  headersSize: le.u32(60), // bytes of all headers, a multiple of fileAlignment
  checksum: le.u32(64),
  subsystem: le.u16(68),
  dllCharacteristics: le.u16(70),
  stackReserve: le.u64Bits(72),
  stackCommit: le.u64Bits(80),
  heapReserve: le.u64Bits(88),
  heapCommit: le.u64Bits(96),
  loaderFlags: le.u32(104),
  directoryCount: le.u32(108),
});

/** IMAGE_DATA_DIRECTORY. */
export const RawDataDirectory = /* @__PURE__ */ defineStruct("pe.data directory", 8, {
  address: le.u32(0), // relative to the image base; of certificates: file offset
  size: le.u32(4), // bytes
});

/** Section header. */
export const RawSectionHeader = /* @__PURE__ */ defineStruct("pe.section header", 40, {
  name: raw(0, 8), // padded with NUL
  virtualSize: le.u32(8), // bytes
  virtualAddress: le.u32(12), // relative to the image base
  rawSize: le.u32(16), // bytes in the file, a multiple of fileAlignment
  rawOffset: le.u32(20), // file offset
  relocations: le.u32(24), // file offset; object files only
  lineNumbers: le.u32(28), // file offset; deprecated
  relocationCount: le.u16(32),
  lineNumberCount: le.u16(34),
  characteristics: le.u32(36),
});

/** IMAGE_DEBUG_DIRECTORY. */
export const RawDebugEntry = /* @__PURE__ */ defineStruct("pe.debug directory", 28, {
  characteristics: le.u32(0),
  timestamp: le.u32(4),
  major: le.u16(8),
  minor: le.u16(10),
  type: le.u32(12),
  size: le.u32(16), // bytes
  address: le.u32(20), // relative to the image base
  rawOffset: le.u32(24), // file offset
});

export const DOS_MAGIC = 0x5a4d;
export const PE_SIGNATURE = 0x00004550;
export const PE32_MAGIC = 0x10b;
export const PE32_PLUS_MAGIC = 0x20b;
export const SUBSYSTEM_EFI_APPLICATION = 10;

/** Index of a data directory. */
export const DIRECTORY_CERTIFICATES = 4;
export const DIRECTORY_DEBUG = 6;
export const MAX_DIRECTORIES = 16;

export const FILE_LOCAL_SYMBOLS_STRIPPED = 0x0008;

export const SECTION_CODE = 0x00000020;
export const SECTION_INITIALIZED_DATA = 0x00000040;
export const SECTION_READ = 0x40000000;

export const SYMBOL_SIZE = 18; // bytes of one entry in the symbol table

/** `machine` → the name that Ashlar and the DPS use. */
export const ARCHITECTURES: Readonly<Record<number, Architecture>> = {
  34404: "x86-64",
  43620: "arm64",
  332: "x86",
  450: "arm",
  20580: "riscv64",
  25188: "loongarch64",
};
export type Architecture = "x86-64" | "arm64" | "x86" | "arm" | "riscv64" | "loongarch64";
