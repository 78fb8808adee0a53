/** Fourth step of writing: the planned metadata as bytes, strictly forward, and the superblock. */
import { type ByteString, bytesOf, concatBytes, crc32cRegister } from "../../bytes/index.ts";
import { type Directory, type Node, TYPE_BITS } from "../../tree/index.ts";
import type { BlockWriter } from "./blocks.ts";
import { encodeChunkTable } from "./chunks.ts";
import { type CompressionFeatures, NO_COMPRESSION } from "./compress-features.ts";
import { encodeMap } from "./compress-map.ts";
import { storeRead } from "./data.ts";
import { encodeDirectoryBlock } from "./directories.ts";
import {
  COMPAT,
  checksummedSize,
  DATA_LAYOUTS,
  FORMAT_EXTENDED,
  FORMAT_LAYOUT_SHIFT,
  headSize,
  INCOMPAT,
  INODE_SLOT_SIZE,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from "./format.ts";
import { splitTime } from "./inodes.ts";
import type { InodePlace, MetadataPlan } from "./plan.ts";
import { type PlannedRead, readAhead } from "./read-ahead.ts";
import { encodeXattrBody, xattrICount } from "./xattrs.ts";

export interface EmitOptions {
  readonly signal?: AbortSignal | undefined;
  /** After each tail: bytes of content just stored. */
  readonly onStored?: ((bytes: number) => void) | undefined;
}

/** Writes everything behind the data, up to the end of the image. The writer stands at the plan's metaBlock. */
export async function emitMetadata(plan: MetadataPlan, writer: BlockWriter, options: EmitOptions = {}): Promise<void> {
  const { table, blockSize, places } = plan;
  const metaStart = plan.metaBlock * blockSize;
  const tails = readAhead(tailReads(plan), { signal: options.signal });
  for (const i of plan.order) {
    const place = places[i]!; // the order has indexes of places
    const inode = table.inodes[i]!; // same length
    await writer.zerosUpTo(metaStart + place.nid * INODE_SLOT_SIZE);
    await writer.append(encodeInode(plan, i));
    if (inode.xattrs !== undefined) await writer.append(encodeXattrBody(inode.xattrs));
    if (place.compressed !== undefined)
      await writer.append(encodeMap(place.compressed, inode.headSize, place.size, blockSize));
    if (place.chunked !== undefined) await writer.append(encodeChunkTable(place.chunked));
    if (place.compressed?.inline !== undefined) await writer.append(place.compressed.inline);
    if (place.inlineSize === 0 || place.compressed !== undefined) continue;
    if (inode.node.type === "file") {
      const tail = await tails.next();
      if (tail.done) throw new RangeError("fewer tails than planned"); // tailReads and this loop agree
      await storeRead(tail.value, writer);
      options.onStored?.(tail.value.read.length);
    } else if (inode.node.type === "symlink") await writer.append(bytesOf(inode.node.target));
    else await writer.append(directoryBlock(plan, i, place.directory!.blockStarts.length - 1)); // the third inline kind
  }
  for (const i of plan.outOfLine) {
    const place = places[i]!; // an index of places
    const { node } = table.inodes[i]!; // same length
    await writer.zerosUpTo(place.startBlock * blockSize);
    if (node.type === "symlink") await writer.append(bytesOf(node.target));
    else {
      const blocks = Math.ceil((place.size - place.inlineSize) / blockSize);
      for (let block = 0; block < blocks; block++) {
        await writer.zerosUpTo((place.startBlock + block) * blockSize);
        await writer.append(directoryBlock(plan, i, block));
      }
    }
  }
  if (plan.xattrBlock > 0) await writer.zerosUpTo(plan.xattrBlock * blockSize);
  for (const entry of table.xattrs.shared) await writer.append(entry);
  await writer.zerosUpTo(plan.blockCount * blockSize);
}

function* tailReads({ table, places, order }: MetadataPlan): Generator<PlannedRead> {
  for (const i of order) {
    const { inlineSize, size, compressed } = places[i]!; // the order has indexes of places
    const { node, path } = table.inodes[i]!; // same length
    if (node.type === "file" && inlineSize > 0 && compressed === undefined)
      yield { source: node.content, path, offset: size - inlineSize, length: inlineSize, isLast: true };
  }
}

function directoryBlock({ table, places }: MetadataPlan, index: number, block: number): Uint8Array {
  const inode = table.inodes[index]!; // the caller's index
  const directory = inode.node as Directory; // only directories have a directory layout
  return encodeDirectoryBlock(places[index]!.directory!, block, (name: ByteString) => {
    if (name === ".") return { nid: places[index]!.nid, type: "directory" };
    if (name === "..") return { nid: places[inode.parent]!.nid, type: "directory" };
    const node = directory.entries.get(name)!; // names of the layout are keys
    return { nid: places[table.indexOf.get(node)!]!.nid, type: node.type };
  });
}

function encodeInode({ table, places }: MetadataPlan, index: number): Uint8Array {
  const { node, isExtended, links, xattrs } = table.inodes[index]!; // the caller's index
  const place = places[index]!;
  const layout = DATA_LAYOUTS.indexOf(place.layout) << FORMAT_LAYOUT_SHIFT;
  const common = {
    format: layout | (isExtended ? FORMAT_EXTENDED : 0),
    xattrICount: xattrICount(xattrs),
    mode: TYPE_BITS[node.type] | node.mode,
    fileSize: place.size,
    u: unionField(node, place),
    ino: index + 1,
    uid: node.uid,
    gid: node.gid,
  };
  if (!isExtended) return RawInodeCompact.encode({ ...common, nb: links, mtime: 0, reserved: 0 });
  const time = splitTime(node.mtime);
  return RawInodeExtended.encode({
    ...common,
    nb: 0,
    mtime: BigInt.asUintN(64, time.seconds),
    mtimeNsec: time.nanoseconds,
    nlink: links,
    reserved: new Uint8Array(0),
  });
}

/** i_u: the start block; the blocks of a compressed file; the format of a chunk table; the device as Linux's new_encode_dev packs it (8 low bits of minor, 12 of major, 12 high bits of minor). */
function unionField(node: Node, place: InodePlace): number {
  if (place.compressed !== undefined) return place.compressed.blocks;
  if (place.chunked !== undefined) return place.chunked.chunkBits; // a table of block addresses
  if (node.type !== "character" && node.type !== "block") return place.startBlock;
  return ((node.minor & 0xff) | (node.major << 8) | ((node.minor & ~0xff) << 12)) >>> 0;
}

export interface SuperblockOptions {
  /** At most 15 bytes. */
  readonly volumeName: Uint8Array;
  /** 16 bytes in text order. */
  readonly uuid: Uint8Array;
  readonly features?: CompressionFeatures | undefined;
}

/** Incompatible features of layouts that are there. */
function layoutFeatures({ places, packed }: MetadataPlan): number {
  let bits = packed === undefined ? 0 : INCOMPAT.fragments;
  for (const { chunked, compressed } of places) {
    if (chunked !== undefined) bits |= INCOMPAT.chunks;
    if (compressed?.inline !== undefined) bits |= INCOMPAT.inlineClusters;
  }
  return bits;
}

/** The 128 bytes, without a checksum, and the configurations of algorithms that follow them. */
export function encodeSuperblock(
  plan: MetadataPlan,
  { uuid, volumeName, features = NO_COMPRESSION }: SuperblockOptions,
): Uint8Array {
  const none = new Uint8Array(0);
  const { packed } = plan;
  const has48Bits = (features.incompat & INCOMPAT.bits48) !== 0;
  const rootNid = plan.places[0]!.nid; // the root is always there
  const superblock = RawSuperblock.encode({
    magic: SUPERBLOCK_MAGIC,
    checksum: 0,
    featureCompat: COMPAT.superblockChecksum | COMPAT.mtime,
    blockBits: Math.log2(plan.blockSize),
    extensionSlots: 0,
    rootNidOrBlocksHi: has48Bits ? Math.floor(plan.blockCount / 2 ** 32) : rootNid,
    inodeCount: plan.places.length,
    epoch: BigInt.asUintN(64, plan.table.epoch.seconds),
    fixedNsec: plan.table.epoch.nanoseconds,
    blocksLo: plan.blockCount % 2 ** 32,
    metaBlock: plan.metaBlock,
    xattrBlock: plan.xattrBlock,
    uuid,
    volumeName,
    featureIncompat: features.incompat | layoutFeatures(plan),
    compression: features.compression,
    extraDevices: 0,
    deviceTableSlot: 0,
    dirBlockBits: 0,
    xattrPrefixCount: 0,
    xattrPrefixStart: 0,
    packedNid: packed === undefined ? 0n : BigInt(plan.places[packed]!.nid), // an index of places
    xattrFilter: 0,
    isharePrefixId: 0,
    reserved: none,
    buildTime: 0,
    rootNid64: has48Bits ? BigInt(rootNid) : 0n,
    reserved2: none,
  });
  return concatBytes(superblock, features.configs);
}

/** The blocks before the data: zeros and the superblock, its checksum set. */
export function encodeHead(superblock: Uint8Array, blockSize: number): Uint8Array {
  const head = new Uint8Array(headSize(blockSize));
  head.set(superblock, SUPERBLOCK_OFFSET);
  const { offset } = RawSuperblock.fields.checksum;
  const covered = head.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + checksummedSize(blockSize));
  new DataView(head.buffer).setUint32(SUPERBLOCK_OFFSET + offset, crc32cRegister(covered, 0xffffffff), true);
  return head;
}
