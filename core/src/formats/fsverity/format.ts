/**
 * The fs-verity descriptor, byte for byte. Nothing here interprets; see measure.ts.
 * Source: Linux 6.18, fs/verity/fsverity_private.h, `struct fsverity_descriptor`; Documentation/filesystems/fsverity.rst.
 */
import { defineStruct, le, raw, u8 } from "../../bytes/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";

export const DESCRIPTOR_VERSION = 1;

/** FS_VERITY_HASH_ALG_*. */
export const ALGORITHM_NUMBERS: Readonly<Record<HashAlgorithm, number>> = { sha256: 1, sha512: 2 };

/** Bytes. The kernel takes blocks from 1024 bytes up to its page size. */
export const MIN_BLOCK_SIZE = 1024;
export const MAX_BLOCK_SIZE = 65536;
/** Bytes. */
export const MAX_SALT_SIZE = 32;

/** Bytes that one step of the hash function takes; the salt is filled up with zeros to a multiple of it. */
export const HASH_STEP_SIZES: Readonly<Record<HashAlgorithm, number>> = { sha256: 64, sha512: 128 };

/** struct fsverity_descriptor without a signature. Its hash is the digest of the file. */
export const RawDescriptor = /* @__PURE__ */ defineStruct("fsverity.descriptor", 256, {
  version: /* @__PURE__ */ u8(0),
  algorithm: /* @__PURE__ */ u8(1), // see ALGORITHM_NUMBERS
  blockBits: /* @__PURE__ */ u8(2), // log2 of the block size in bytes
  saltSize: /* @__PURE__ */ u8(3), // bytes
  signatureSize: /* @__PURE__ */ le.u32(4), // bytes; 0 in what is hashed
  dataSize: /* @__PURE__ */ le.u64(8), // bytes of the file
  rootHash: /* @__PURE__ */ raw(16, 64), // zeros behind a shorter digest
  salt: /* @__PURE__ */ raw(80, 32), // the first saltSize bytes count
  reserved: /* @__PURE__ */ raw(112, 144),
});
