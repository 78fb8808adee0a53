/** Fourth step of writing: the planned image as bytes. */
import type { ByteString } from "../../bytes/index.ts";
import { TYPE_BITS } from "../../tree/index.ts";
import {
  DATA_LAYOUTS,
  FILE_TYPES,
  FORMAT_EXTENDED,
  FORMAT_LAYOUT_SHIFT,
  INODE_SLOT_SIZE,
  NULL_BLOCK,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawXattrHeader,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
  XATTR_UNIT,
} from "../erofs/format.ts";
import { splitTime } from "../erofs/inodes.ts";
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  FEATURE_COMPAT,
  FLAG_HAS_ACL,
  HEADER_MAGIC,
  HEADER_VERSION,
  MAX_CHUNKS,
  RawComposefsHeader,
} from "./format.ts";
import type { Inode } from "./inodes.ts";
import { type ImagePlan, tailAt } from "./plan.ts";
import { chunking } from "./survey.ts";
import { writeBytes, writeXattrBody, writeXattrEntry } from "./xattrs.ts";

const NOTHING = /* @__PURE__ */ new Uint8Array(0);
/** The chunk format that version 2 gives every file: chunks of 8 TiB, of which one is always enough. */
const LARGEST_CHUNKS = 31;

/** The whole image. */
export function emitComposefs(plan: ImagePlan): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(plan.size);
  image.set(encodeHeader(plan));
  image.set(encodeSuperblock(plan), SUPERBLOCK_OFFSET);
  // Shared ids count from the start of the block in which the shared xattrs begin; in version 2, of the image.
  const sharedBase = plan.version === 2 ? plan.sharedStart : plan.sharedStart % BLOCK_SIZE;
  const view = new DataView(image.buffer);
  for (let i = 0; i < plan.inodes.length; i++) {
    const inode = plan.inodes[i]!; // below the length
    const tail = tailAt(inode);
    writeInode(view, plan, inode, i);
    if (inode.xattrSize > 0)
      writeXattrBody(view, image, tail - inode.xattrSize, inode.xattrs, plan.version, sharedBase);
    writeTail(view, image, plan, inode, tail);
    writeBlocks(view, image, plan, inode);
  }
  let at = plan.sharedStart;
  for (const entry of plan.shared) {
    writeXattrEntry(image, at, entry);
    at += entry.size;
  }
  return image;
}

function encodeHeader({ version, hasAcl }: ImagePlan): Uint8Array {
  return RawComposefsHeader.encode({
    magic: HEADER_MAGIC,
    version: HEADER_VERSION,
    flags: hasAcl && version !== 2 ? FLAG_HAS_ACL : 0,
    composefsVersion: version,
    reserved: NOTHING,
  });
}

function encodeSuperblock(plan: ImagePlan): Uint8Array {
  const time = splitTime(plan.version === 2 ? 0n : plan.minTime);
  return RawSuperblock.encode({
    magic: SUPERBLOCK_MAGIC,
    checksum: 0,
    featureCompat: FEATURE_COMPAT,
    blockBits: BLOCK_BITS,
    extensionSlots: 0,
    rootNidOrBlocksHi: nidOf(plan.inodes[0]!), // the root is always there
    inodeCount: plan.inodes.length,
    epoch: BigInt.asUintN(64, time.seconds),
    fixedNsec: time.nanoseconds,
    blocksLo: plan.size / BLOCK_SIZE,
    metaBlock: 0,
    xattrBlock: plan.version === 2 ? 0 : Math.floor(plan.sharedStart / BLOCK_SIZE),
    uuid: NOTHING,
    volumeName: NOTHING,
    featureIncompat: 0, // although there are files in chunks
    compression: 0,
    extraDevices: 0,
    deviceTableSlot: 0,
    dirBlockBits: 0,
    xattrPrefixCount: 0,
    xattrPrefixStart: 0,
    packedNid: 0n,
    xattrFilter: 0,
    isharePrefixId: 0,
    reserved: NOTHING,
    buildTime: 0,
    rootNid64: 0n,
    reserved2: NOTHING,
  });
}

function nidOf({ position }: Inode): number {
  return position / INODE_SLOT_SIZE;
}

/** Fields are written in place: a table's encoder costs several times as much (measured). */
function writeInode(view: DataView, { version }: ImagePlan, inode: Inode, index: number): void {
  const { isExtended, xattrSize, size, tailSize, position: at } = inode;
  const layoutName = inode.data.kind === "chunks" ? "chunk-based" : tailSize > 0 ? "flat-inline" : "flat-plain";
  const layout = DATA_LAYOUTS.indexOf(layoutName) << FORMAT_LAYOUT_SHIFT;
  const xattrICount = xattrSize === 0 ? 0 : 1 + (xattrSize - RawXattrHeader.size) / XATTR_UNIT;
  const ino = version === 2 ? nidOf(inode) : index;
  const mode = TYPE_BITS[inode.type] | inode.mode;
  const u = unionField(inode, version === 2);
  if (!isExtended) {
    const { fields } = RawInodeCompact;
    view.setUint16(at + fields.format.offset, layout, true);
    view.setUint16(at + fields.xattrICount.offset, xattrICount, true);
    view.setUint16(at + fields.mode.offset, mode, true);
    view.setUint16(at + fields.nb.offset, inode.links, true);
    view.setUint32(at + fields.fileSize.offset, size, true);
    view.setUint32(at + fields.u.offset, u, true);
    view.setUint32(at + fields.ino.offset, ino, true);
    view.setUint16(at + fields.uid.offset, inode.uid, true);
    view.setUint16(at + fields.gid.offset, inode.gid, true);
    return;
  }
  const { fields } = RawInodeExtended;
  const time = splitTime(inode.mtime);
  view.setUint16(at + fields.format.offset, layout | FORMAT_EXTENDED, true);
  view.setUint16(at + fields.xattrICount.offset, xattrICount, true);
  view.setUint16(at + fields.mode.offset, mode, true);
  view.setBigUint64(at + fields.fileSize.offset, BigInt(size), true);
  view.setUint32(at + fields.u.offset, u, true);
  view.setUint32(at + fields.ino.offset, ino, true);
  view.setUint32(at + fields.uid.offset, inode.uid, true);
  view.setUint32(at + fields.gid.offset, inode.gid, true);
  view.setBigInt64(at + fields.mtime.offset, time.seconds, true);
  view.setUint32(at + fields.mtimeNsec.offset, version === 2 ? 0 : time.nanoseconds, true);
  view.setUint32(at + fields.nlink.offset, inode.links, true);
}

/** i_u: start block, device as Linux's new_encode_dev packs it, or format of the chunks. */
function unionField({ data, startBlock, blocks }: Inode, largestChunks: boolean): number {
  if (data.kind === "device") return ((data.minor & 0xff) | (data.major << 8) | ((data.minor & ~0xff) << 12)) >>> 0;
  const block = blocks > 0 ? startBlock : 0;
  if (data.kind !== "chunks") return block;
  const format = largestChunks ? LARGEST_CHUNKS : chunking(data.size).bits - BLOCK_BITS;
  // Of a chunk table in a block of its own the upper half of the address is left behind.
  return ((block & 0xffff0000) | format) >>> 0;
}

function writeTail(view: DataView, image: Uint8Array, plan: ImagePlan, inode: Inode, at: number): void {
  const { data, tailSize, blocks } = inode;
  if (tailSize === 0) return;
  if (data.kind === "directory") writeEntries(view, image, plan, data, data.blockStarts.length - 1, at);
  else if (data.kind === "bytes") writePart(image, at, data.bytes, blocks * BLOCK_SIZE, data.bytes.length);
  else image.fill(NULL_BLOCK & 0xff, at, at + tailSize);
}

function writeBlocks(view: DataView, image: Uint8Array, plan: ImagePlan, inode: Inode): void {
  const { data, blocks, startBlock } = inode;
  if (blocks === 0) return;
  const at = startBlock * BLOCK_SIZE;
  if (data.kind === "directory")
    for (let block = 0; block < blocks; block++) writeEntries(view, image, plan, data, block, at + block * BLOCK_SIZE);
  else if (data.kind === "bytes") writePart(image, at, data.bytes, 0, blocks * BLOCK_SIZE);
  else image.fill(NULL_BLOCK & 0xff, at, at + MAX_CHUNKS * 4);
}

function writePart(image: Uint8Array, at: number, bytes: Uint8Array | ByteString, start: number, end: number): void {
  if (typeof bytes === "string") writeBytes(image, at, bytes.slice(start, end));
  else image.set(bytes.subarray(start, end), at);
}

type DirectoryData = Extract<Inode["data"], { readonly kind: "directory" }>;

/** One block of a directory. */
function writeEntries(
  view: DataView,
  image: Uint8Array,
  { inodes }: ImagePlan,
  { entries, blockStarts }: DirectoryData,
  block: number,
  at: number,
): void {
  const { nid, nameOffset: nameField, fileType } = RawDirent.fields;
  const start = blockStarts[block]!; // a block of the directory
  const end = blockStarts[block + 1] ?? entries.length;
  let dirent = at;
  let name = at + (end - start) * RawDirent.size;
  for (let i = start; i < end; i++) {
    const entry = entries[i]!; // below the length
    const target = inodes[entry.inode]!; // entries hold indexes of inodes
    view.setUint32(dirent + nid.offset, nidOf(target), true); // an image in memory has no 2^32 slots
    view.setUint16(dirent + nameField.offset, name - at, true);
    view.setUint8(dirent + fileType.offset, FILE_TYPES.indexOf(target.type));
    writeBytes(image, name, entry.name);
    dirent += RawDirent.size;
    name += entry.name.length;
  }
}
