/** Reads single inodes, and what directories and links hold. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { readSteps, type Steps, waitFor } from "../../source/index.ts";
import { contentOf } from "./content.ts";
import { MAX_SYMLINK_SIZE, METABOX_BIT, RawInodeCompact, RawInodeExtended } from "./format.ts";
import { type ErofsInode, inodePosition, parseInode } from "./inode.ts";
import { checkRange } from "./map.ts";
import { flatExtents } from "./map-flat.ts";
import { showNid } from "./superblock.ts";
import type { Volume } from "./volume.ts";

/** Throws FormatError `nid-out-of-range`. */
export function* inodeSteps(volume: Volume, nid: number): Steps<never, ErofsInode> {
  const position = inodePosition(nid, volume.superblock);
  const metadata = volume.metadataOf({ nid, isInMetabox: nid >= METABOX_BIT });
  if (!Number.isSafeInteger(position) || nid < 0 || position + RawInodeCompact.size > metadata.size)
    throw new FormatError("nid-out-of-range", `inode ${showNid(nid)} lies outside the image`, { offset: position });
  const length = Math.min(RawInodeExtended.size, metadata.size - position);
  return parseInode(yield* readSteps(metadata, position, length), nid, volume.superblock);
}

/** All data of a directory or link. Throws FormatError `too-large`. */
export function* metadataSteps(volume: Volume, inode: ErofsInode, limit: number): Steps<never, Uint8Array> {
  if (inode.size > limit)
    throw new FormatError("too-large", `inode ${showNid(inode.nid)} has ${inode.size} bytes, more than ${limit}`, {
      offset: inode.position,
      expected: limit,
      actual: inode.size,
    });
  if (inode.layout === "flat-plain" || inode.layout === "flat-inline") {
    const [only, ...more] = flatExtents(volume, inode);
    if (only?.space === "device" && only.device === 0 && more.length === 0) {
      checkRange(volume, inode, only);
      return yield* readSteps(volume.metadata, only.start, only.size);
    }
  }
  return yield* waitFor(contentOf(volume, volume.metadata, inode).read(0, inode.size));
}

/** The target of a symbolic link. Throws FormatError `bad-link`. */
export function* linkSteps(volume: Volume, inode: ErofsInode): Steps<never, ByteString> {
  const where = showNid(inode.nid);
  if (inode.type !== "symlink") throw new TypeError(`inode ${where} is a ${inode.type}`);
  if (inode.size === 0 || inode.size > MAX_SYMLINK_SIZE)
    throw new FormatError("bad-link", `link target of inode ${where} has ${inode.size} bytes`, {
      offset: inode.position,
    });
  const target = byteString(yield* metadataSteps(volume, inode, MAX_SYMLINK_SIZE));
  if (target.includes("\0"))
    throw new FormatError("bad-link", `link target of inode ${where} holds a NUL`, { offset: inode.position });
  return target;
}
