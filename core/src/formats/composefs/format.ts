/**
 * What composefs adds to EROFS: a header in front of the superblock, and extended attributes that overlayfs reads.
 * Nothing here interprets. Sources: composefs 1.0.8, libcomposefs/lcfs-erofs.h (`struct lcfs_erofs_header_s`) and
 * lcfs-internal.h; Linux 6.18, fs/erofs/erofs_fs.h and Documentation/filesystems/overlayfs.rst.
 */
import { type ByteString, defineStruct, le, raw } from "../../bytes/index.ts";

export const HEADER_MAGIC = 0xd078629a;
export const HEADER_VERSION = 1;
/** Some inode has a POSIX ACL. */
export const FLAG_HAS_ACL = 1;

/** struct lcfs_erofs_header_s: the first bytes of an image. */
export const RawComposefsHeader = /* @__PURE__ */ defineStruct("composefs.header", 32, {
  magic: /* @__PURE__ */ le.u32(0),
  version: /* @__PURE__ */ le.u32(4), // HEADER_VERSION
  flags: /* @__PURE__ */ le.u32(8),
  composefsVersion: /* @__PURE__ */ le.u32(12), // see FormatVersion
  reserved: /* @__PURE__ */ raw(16, 16),
});

/** Blocks of EROFS, of fs-verity, and the least chunk, in bytes. */
export const BLOCK_SIZE = 4096;
export const BLOCK_BITS = 12;

/** EROFS_FEATURE_COMPAT_MTIME and _XATTR_FILTER; there is no checksum of the superblock. */
export const FEATURE_COMPAT = 0x2 | 0x4;

/** EROFS_XATTR_FILTER_SEED: the bit of a name is XXH32 of it without its prefix, seeded with this and the prefix's index. */
export const XATTR_FILTER_SEED = 0x25bbe08f;

/** The prefix of an index, as the kernel has it; index 0 stands for no prefix, which composefs uses for unknown names. */
export const XATTR_PREFIXES = [
  "",
  "user.",
  "system.posix_acl_access",
  "system.posix_acl_default",
  "trusted.",
  "lustre.",
  "security.",
] as const;

const name = (text: string): ByteString => text as ByteString; // ASCII

export const OVERLAY_PREFIX = "trusted.overlay.";
/** What a name with OVERLAY_PREFIX becomes, so that it is content and not an instruction to the outer overlayfs. */
export const ESCAPE_PREFIX = "trusted.overlay.overlay.";

export const METACOPY = /* @__PURE__ */ name("trusted.overlay.metacopy");
export const REDIRECT = /* @__PURE__ */ name("trusted.overlay.redirect");
export const OPAQUE = /* @__PURE__ */ name("trusted.overlay.opaque");
export const ESCAPED_WHITEOUT = /* @__PURE__ */ name("trusted.overlay.overlay.whiteout");
export const ESCAPED_WHITEOUTS = /* @__PURE__ */ name("trusted.overlay.overlay.whiteouts");
export const ESCAPED_OPAQUE = /* @__PURE__ */ name("trusted.overlay.overlay.opaque");
export const USER_WHITEOUT = /* @__PURE__ */ name("user.overlay.whiteout");
export const USER_WHITEOUTS = /* @__PURE__ */ name("user.overlay.whiteouts");
export const USER_OPAQUE = /* @__PURE__ */ name("user.overlay.opaque");
export const SELINUX = /* @__PURE__ */ name("security.selinux");
export const ACL_ACCESS = /* @__PURE__ */ name("system.posix_acl_access");
export const ACL_DEFAULT = /* @__PURE__ */ name("system.posix_acl_default");

/** Bytes of struct ovl_metacopy in front of the digest. */
export const METACOPY_HEAD_SIZE = 4;

/**
 * 0 and 1 are those of the C library and of bootc: 1 marks directories with whiteouts as opaque. 2 is what composefs-rs
 * wrote at first.
 */
export type FormatVersion = 0 | 1 | 2;

/** Content up to this many bytes goes into the image, by the rule of all builders. */
export const INLINE_LIMIT = 64;
/** Bytes of content that an image may hold for one file (LCFS_INLINE_CONTENT_MAX). */
export const MAX_INLINE_SIZE = 5000;
/** The same in version 2, where content has no blocks (MAX_INLINE_CONTENT of composefs-rs). */
export const MAX_INLINE_SIZE_2 = 512;
/** Xattrs of one inode that may be shared in versions 0 and 1. */
export const MAX_SHARED = 128;
/** Bytes of an xattr's value. */
export const MAX_XATTR_VALUE = 0xffff;
/** Bytes of all xattrs of an inode, counted as LCFS_INODE_EXTERNAL_XATTR_MAX is: names, values and 7 bytes each. */
export const MAX_XATTR_TOTAL = 0x7fff;
/** Chunks of a file; with chunks of at most 8 TiB no file that Linux can hold has more. */
export const MAX_CHUNKS = 1024;
/** log2 of the largest chunk in bytes. */
export const MAX_CHUNK_BITS = 43;
