/**
 * The binary module index (`modules.dep.bin`, `modules.alias.bin`, `modules.symbols.bin`), byte for byte: a trie that
 * libkmod looks names up in. All numbers are big-endian. Layout as depmod of kmod 30 and 34 writes it, checked
 * against the files of Debian's kernel packages.
 */
import { be, defineStruct } from "../../bytes/index.ts";

export const INDEX_MAGIC = 0xb007f457;
/** Major version 2, minor version 1. */
export const INDEX_VERSION = 0x00020001;

export const RawIndexHeader = /* @__PURE__ */ defineStruct("kmod.index header", 12, {
  magic: be.u32(0),
  version: be.u32(4), // major in the upper 16 bits, minor in the lower
  root: be.u32(8), // reference to the root node
});

/*
 * A reference to a node is its file offset in the low 28 bits and what the node has in the upper ones. The node:
 *   prefix:   text and NUL
 *   children: first character, last character (one byte each), a reference (4 bytes) for each in between; 0: none
 *   values:   count (4 bytes), for each: priority (4 bytes), text and NUL
 */
export const NODE_PREFIX = 0x80000000;
export const NODE_VALUES = 0x40000000;
export const NODE_CHILDREN = 0x20000000;
export const NODE_OFFSET_MASK = 0x0fffffff;

/** Characters of a key are below this: an index is ASCII. */
export const CHARACTER_LIMIT = 128;
