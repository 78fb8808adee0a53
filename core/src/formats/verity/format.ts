/**
 * The dm-verity superblock, byte for byte. Nothing here interprets; see read.ts.
 * Source: cryptsetup 2.6, lib/verity/verity.c, `struct verity_sb`; cryptsetup wiki, "DMVerity", section "Verity superblock format".
 */
import { defineStruct, le, raw } from "../../bytes/index.ts";

/** Text `verity` and two NULs. */
export const SUPERBLOCK_MAGIC: Uint8Array = /* @__PURE__ */ Uint8Array.of(0x76, 0x65, 0x72, 0x69, 0x74, 0x79, 0, 0);
export const SUPERBLOCK_VERSION = 1;

/** `H(salt ‖ block)`, digests at power-of-two distances. The other one, 0, is Chrome OS's original and appends the salt. */
export const HASH_TYPE_NORMAL = 1;
export const HASH_TYPE_CHROME = 0;

/** Bytes; `veritysetup format` takes powers of two in this span. The kernel maps data blocks up to its page size only. */
export const MIN_BLOCK_SIZE = 512;
export const MAX_BLOCK_SIZE = 512 * 1024;
/** Bytes. */
export const MAX_SALT_SIZE = 256;

/** struct verity_sb. It opens the first hash block; the tree starts at the next one. */
export const RawVeritySuperblock = /* @__PURE__ */ defineStruct("verity.superblock", 512, {
  magic: /* @__PURE__ */ raw(0, 8),
  version: /* @__PURE__ */ le.u32(8),
  hashType: /* @__PURE__ */ le.u32(12),
  uuid: /* @__PURE__ */ raw(16, 16), // in the order of the text
  algorithm: /* @__PURE__ */ raw(32, 32), // NUL-padded name
  dataBlockSize: /* @__PURE__ */ le.u32(64), // bytes
  hashBlockSize: /* @__PURE__ */ le.u32(68), // bytes
  dataBlocks: /* @__PURE__ */ le.u64(72), // blocks
  saltSize: /* @__PURE__ */ le.u16(80), // bytes
  reserved: /* @__PURE__ */ raw(82, 6),
  salt: /* @__PURE__ */ raw(88, 256), // the first saltSize bytes count
  reserved2: /* @__PURE__ */ raw(344, 168),
});
