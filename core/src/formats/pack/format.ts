/**
 * Packs and recipes, byte for byte. Nothing here interprets; see pack.ts and recipe.ts.
 * Source: README.md for what is Ashlar's; RFC 8878 section 3.1.2 for skippable frames; zstd, contrib/seekable_format/
 * zstd_seekable_compression_format.md (version 0.1.0) for the seek table.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";
import type { BranchFilter } from "../../codecs/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";

/** Bytes of blocks in one zstd frame of scale 0, twice as many with each step; one block where blocks are larger. */
export const FRAME_SIZE = 128 * 1024;
/** Frames of 1 MiB. */
export const MAX_FRAME_SCALE = 3;
/** Frames of one pack: 512 GiB of blocks, a seek table of 32 MiB. */
export const MAX_FRAMES = 2 ** 22;
/** Blocks of one root: 64 GiB of 4 KiB, half a gigabyte of digests. */
export const MAX_BLOCKS = 2 ** 24;
/** Runs of one recipe; a month of updates of Debian makes some thousands. */
export const MAX_RUNS = 2 ** 21;
/** Packs that one recipe refers to; manifests have a bound of layers too. */
export const MAX_PACKS = 256;
/** Bytes of a recipe. */
export const MAX_RECIPE_SIZE = 32 * 1024 * 1024;
/** Bytes; what dm-verity takes. */
export const MAX_SALT_SIZE = 256;
export const MIN_BLOCK_SIZE = 512;
export const MAX_BLOCK_SIZE = 512 * 1024;

/** The number that stands for an algorithm in both formats. */
export const ALGORITHM_NUMBERS: Readonly<Record<HashAlgorithm, number>> = { sha256: 1, sha512: 2 };

/** The number that stands for what was done to the blocks of each frame before it was compressed. */
export const FILTERS: readonly (BranchFilter | undefined)[] = [undefined, "amd64", "arm64"];

/** The skippable frame that holds leaf digests; the format leaves the low four bits to whoever writes one. */
export const LEAVES_FRAME_MAGIC = 0x184d2a5a;
/** Of the seek table's skippable frame. */
export const SEEK_FRAME_MAGIC = 0x184d2a5e;
export const SEEK_MAGIC = 0x8f92eab1;
/** Seek_Table_Descriptor: bit 7 says that entries have checksums, bits 6 to 2 must be zero. */
export const SEEK_RESERVED_BITS = 0xfc;

/** RFC 8878, 3.1.2: the header of a skippable frame. */
export const RawSkippableHeader = /* @__PURE__ */ defineStruct("zstd.skippable", 8, {
  magic: /* @__PURE__ */ le.u32(0),
  size: /* @__PURE__ */ le.u32(4), // bytes that follow
});

/** Seek_Table_Entry without checksum. Skippable frames have one too, with nothing decompressed. */
export const RawSeekEntry = /* @__PURE__ */ defineStruct("zstd.seek-entry", 8, {
  compressedSize: /* @__PURE__ */ le.u32(0), // bytes
  decompressedSize: /* @__PURE__ */ le.u32(4), // bytes
});

/** Seek_Table_Footer, the last bytes of the blob. */
export const RawSeekFooter = /* @__PURE__ */ defineStruct("zstd.seek-footer", 9, {
  frames: /* @__PURE__ */ le.u32(0),
  descriptor: /* @__PURE__ */ u8(4),
  magic: /* @__PURE__ */ le.u32(5),
});

/** Text `ashlpack`. */
export const LEAVES_MAGIC: Uint8Array = /* @__PURE__ */ Uint8Array.of(0x61, 0x73, 0x68, 0x6c, 0x70, 0x61, 0x63, 0x6b);
export const PACK_VERSION = 1;

/** Opens the frame of leaf digests; salt and digests follow. */
export const RawLeavesHeader = /* @__PURE__ */ defineStruct("pack.leaves", 24, {
  magic: /* @__PURE__ */ raw(0, 8),
  version: /* @__PURE__ */ le.u16(8),
  algorithm: /* @__PURE__ */ le.u16(10), // 1: sha256, 2: sha512
  blockSize: /* @__PURE__ */ le.u32(12), // bytes
  blocks: /* @__PURE__ */ le.u32(16), // blocks in the pack
  saltSize: /* @__PURE__ */ le.u16(20), // bytes
  frameScale: /* @__PURE__ */ u8(22), // log2 of the bytes in a frame / FRAME_SIZE
  filter: /* @__PURE__ */ u8(23), // index in FILTERS
});

/** Text `ashlrcpe`. */
export const RECIPE_MAGIC: Uint8Array = /* @__PURE__ */ Uint8Array.of(0x61, 0x73, 0x68, 0x6c, 0x72, 0x63, 0x70, 0x65);
export const RECIPE_VERSION = 1;

/** Opens a recipe; salt, packs and runs follow. */
export const RawRecipeHeader = /* @__PURE__ */ defineStruct("recipe.header", 32, {
  magic: /* @__PURE__ */ raw(0, 8),
  version: /* @__PURE__ */ le.u16(8),
  algorithm: /* @__PURE__ */ le.u16(10), // 1: sha256, 2: sha512
  blockSize: /* @__PURE__ */ le.u32(12), // bytes
  blocks: /* @__PURE__ */ le.u32(16), // blocks of the root
  runs: /* @__PURE__ */ le.u32(20),
  packs: /* @__PURE__ */ le.u16(24),
  saltSize: /* @__PURE__ */ le.u16(26), // bytes
  reserved: /* @__PURE__ */ raw(28, 4),
});

/** A pack that a recipe refers to. */
export const RawPackEntry = /* @__PURE__ */ defineStruct("recipe.pack", 48, {
  digest: /* @__PURE__ */ raw(0, 32), // SHA-256 of the blob
  size: /* @__PURE__ */ le.u64(32), // bytes of the blob
  blocks: /* @__PURE__ */ le.u32(40), // blocks in the pack
  frameScale: /* @__PURE__ */ u8(44), // as in the pack
  filter: /* @__PURE__ */ u8(45), // as in the pack
  reserved: /* @__PURE__ */ raw(46, 2),
});
