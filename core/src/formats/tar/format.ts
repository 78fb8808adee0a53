/**
 * Tar on-disk structures, byte for byte. Nothing here interprets; see read.ts.
 * Spec: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual 1.34, appendix D
 * ("Tar Internals", struct posix_header, oldgnu_header, sparse_header, sparse formats 0.0, 0.1, 1.0).
 */
import { defineStruct, raw } from "../../bytes/index.ts";

/** Bytes; everything in an archive starts at a multiple of it. */
export const BLOCK_SIZE = 512;

/** struct posix_header. Numbers are text or base-256 and are resolved in numbers.ts. */
export const RawHeader = /* @__PURE__ */ defineStruct("tar.header", BLOCK_SIZE, {
  name: raw(0, 100),
  mode: raw(100, 8),
  uid: raw(108, 8),
  gid: raw(116, 8),
  size: raw(124, 12), // bytes that follow, without padding
  mtime: raw(136, 12), // seconds since 1970
  chksum: raw(148, 8), // sum of all bytes, this field taken as spaces
  typeflag: raw(156, 1),
  linkname: raw(157, 100),
  magic: raw(257, 6), // "ustar\0", GNU: "ustar "
  version: raw(263, 2), // "00", GNU: " \0"
  uname: raw(265, 32),
  gname: raw(297, 32),
  devmajor: raw(329, 8),
  devminor: raw(337, 8),
  prefix: raw(345, 155), // ustar only
  padding: raw(500, 12),
});

/** struct oldgnu_header: what stands in the place of `prefix` and `padding`. Starts at {@link GNU_TAIL_OFFSET}. */
export const RawGnuTail = /* @__PURE__ */ defineStruct("tar.gnu-tail", 167, {
  atime: raw(0, 12),
  ctime: raw(12, 12),
  offset: raw(24, 12),
  longnames: raw(36, 4),
  unused: raw(40, 1),
  sparse: raw(41, 96), // four of RawSparse
  isextended: raw(137, 1), // not zero: a block of RawSparseBlock follows
  realsize: raw(138, 12), // bytes of the file with its holes
  padding: raw(150, 17),
});
export const GNU_TAIL_OFFSET = 345; // bytes from the start of the header

/** struct sparse: one run of stored bytes. */
export const RawSparse = /* @__PURE__ */ defineStruct("tar.sparse", 24, {
  offset: raw(0, 12), // bytes in the file; an unused entry starts with NUL
  numbytes: raw(12, 12),
});

/** struct sparse_header: continues the map of a sparse file. */
export const RawSparseBlock = /* @__PURE__ */ defineStruct("tar.sparse-block", BLOCK_SIZE, {
  sparse: raw(0, 504), // 21 of RawSparse
  isextended: raw(504, 1),
  padding: raw(505, 7),
});

/** `typeflag` as a byte. */
export const TYPEFLAG = {
  oldFile: 0x00,
  file: 0x30,
  hardLink: 0x31,
  symlink: 0x32,
  character: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
  contiguous: 0x37,
  paxGlobal: 0x67, // g
  pax: 0x78, // x
  gnuLongLink: 0x4b, // K
  gnuLongName: 0x4c, // L
  gnuSparse: 0x53, // S
  gnuVolume: 0x56, // V
} as const;

/** Bytes of one PAX header (`x` or `g`), and of all global records that are kept. */
export const MAX_PAX_SIZE = 4 * 1024 * 1024;
/** Global PAX records that are kept: each is looked at for every entry that follows. git writes one. */
export const MAX_GLOBAL_RECORDS = 1024;
/** Bytes of a path or link target, however it is stored. Linux: PATH_MAX with its NUL. */
export const MAX_PATH_LENGTH = 4096;
/** Runs of stored bytes in one sparse file. */
export const MAX_SPARSE_SEGMENTS = 1 << 20;
/** Bytes of an xattr's full name; Linux: XATTR_NAME_MAX. */
export const MAX_XATTR_NAME = 255;
/** Bytes of an xattr's value; Linux: XATTR_SIZE_MAX. */
export const MAX_XATTR_VALUE = 65536;
