/** Superblock, its extension, device table and compression settings: parsed, and checked for what is not implemented. */
import { alignUp, type ByteString, byteString, crc32cRegister, cursor } from "../../bytes/index.ts";
import type { CompressionAlgorithm } from "../../codecs/index.ts";
import { FormatError, IntegrityError, UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import {
  COMPAT,
  checksummedSize,
  DISK_METABOX_BIT,
  EXTENSION_SLOT_SIZE,
  INCOMPAT,
  LONG_PREFIX_UNIT,
  MAX_BLOCK_BITS,
  MAX_SLOTS,
  METABOX_BIT,
  MIN_BLOCK_BITS,
  RawDeviceSlot,
  RawSuperblock,
  RawSuperblockExtension,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from "./format.ts";
import {
  ALGORITHMS,
  MAX_LZMA_DICTIONARY,
  RawDeflateConfig,
  RawLz4Config,
  RawLzmaConfig,
  RawZstdConfig,
  ZSTD_MIN_WINDOW_LOG,
} from "./format-compressed.ts";

export interface Superblock {
  /** Bytes, extension slots included. */
  readonly size: number;
  /** Bytes. */
  readonly blockSize: number;
  /** Of the image itself, without further devices. */
  readonly blockCount: number;
  readonly inodeCount: number;
  readonly rootNid: number;
  /** Bytes from the start of the image to inode slot 0. */
  readonly metaStart: number;
  /** Bytes from the start of the image, or of the metabox, to the shared xattrs. */
  readonly xattrStart: number;
  /** mtime of compact inodes, to which they may add seconds; nanoseconds since 1970. */
  readonly epoch: bigint;
  /** When the image was made, in seconds after `epoch`; 0 where nothing says so. */
  readonly buildTime: number;
  /** 16 bytes in text order. */
  readonly uuid: Uint8Array;
  readonly volumeName: ByteString;
  readonly featureCompat: number;
  readonly featureIncompat: number;
  /** Of compressed data; empty where the image says nothing about compression. */
  readonly algorithms: readonly CompressionAlgorithm[];
  /** Whether compressed clusters are filled up with zeros in front; old LZ4 images have the rest behind. */
  readonly isZeroPadded: boolean;
  readonly deviceCount: number;
  /** Bytes from the start of the image. */
  readonly deviceTableStart: number;
  /** The inode whose content holds fragments of others. */
  readonly packedNid: number | undefined;
  /** The inode whose content is metadata. */
  readonly metaboxNid: number | undefined;
  /** Whether name filters mean what they mean today: a later meaning would say another number. */
  readonly hasXattrFilter: boolean;
  readonly xattrPrefixCount: number;
  /** Bytes from the start of the image, of the metabox or of the packed inode. */
  readonly xattrPrefixStart: number;
  /** Bytes of compression settings, which follow it. */
  readonly settingsSize: number;
  /** Bytes that matches reach back at most, by algorithm, where the image says so. */
  readonly windowSizes: Partial<Record<CompressionAlgorithm, number>>;
}

/** Another device that holds data of the image. */
export interface DeviceSlot {
  /** 64 bytes. */
  readonly tag: Uint8Array;
  /** Bytes. */
  readonly size: number;
  /** Where it starts in a view of all devices as one, in bytes; undefined where it is in none. */
  readonly start: number | undefined;
}

/** More devices than anybody has, 64 KiB of table. */
export const MAX_DEVICES = 512;

const SUPPORTED_INCOMPAT = /* @__PURE__ */ Object.values(INCOMPAT).reduce((all, bit) => all | bit, 0);

/** Bits of `compression` with COMPR_CFGS. */
const KNOWN_ALGORITHMS = 2 ** ALGORITHMS.length - 1;

/**
 * Reads superblock, extension and compression settings. Throws FormatError for what is not an EROFS image or is cut off,
 * UnsupportedError `erofs-feature` naming unknown incompatible features.
 */
export async function readSuperblock(source: Source): Promise<Superblock> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size)
    throw new FormatError("truncated", `not an EROFS image: ${source.size} bytes hold no superblock`);
  const head = await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size);
  const extensions = RawSuperblock.view(head).extensionSlots * EXTENSION_SLOT_SIZE;
  const superblock = parseSuperblock(
    extensions === 0 || SUPERBLOCK_OFFSET + RawSuperblock.size + extensions > source.size
      ? head
      : await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size + extensions),
  );
  if ((superblock.featureIncompat & INCOMPAT.compressionConfigs) === 0) return superblock;
  return { ...superblock, ...(await readSettings(source, superblock)) };
}

/**
 * Checks and interprets the superblock, all but the compression settings behind it. Throws as {@link readSuperblock}.
 *
 * @param bytes start at SUPERBLOCK_OFFSET of the image and hold the extension slots too
 */
export function parseSuperblock(bytes: Uint8Array): Superblock {
  const raw = RawSuperblock.view(bytes);
  if (raw.magic !== SUPERBLOCK_MAGIC)
    throw new FormatError("bad-magic", `not an EROFS image: magic is 0x${raw.magic.toString(16)}`, {
      offset: SUPERBLOCK_OFFSET,
    });
  if (raw.blockBits < MIN_BLOCK_BITS || raw.blockBits > MAX_BLOCK_BITS)
    throw new FormatError("bad-block-size", `block size 2^${raw.blockBits} is outside 512 B to 64 KiB`, {
      offset: SUPERBLOCK_OFFSET + RawSuperblock.fields.blockBits.offset,
    });
  refuseFeatures(raw.featureIncompat);
  if (raw.dirBlockBits !== 0)
    throw new UnsupportedError("erofs-feature", `directory blocks of 2^${raw.dirBlockBits} blocks are not implemented`);
  const has = (feature: keyof typeof INCOMPAT): boolean => (raw.featureIncompat & INCOMPAT[feature]) !== 0;
  const blockSize = 2 ** raw.blockBits;
  const name = byteString(raw.volumeName);
  const end = name.indexOf("\0");
  // The kernel takes the long form only where a root is given in it.
  const isLong = has("bits48") && raw.rootNid64 !== 0n;
  return {
    size: RawSuperblock.size + raw.extensionSlots * EXTENSION_SLOT_SIZE,
    blockSize,
    blockCount: raw.blocksLo + (isLong ? raw.rootNidOrBlocksHi * 2 ** 32 : 0),
    inodeCount: raw.inodeCount,
    rootNid: isLong ? parseNid(raw.rootNid64, "the root") : raw.rootNidOrBlocksHi,
    metaStart: raw.metaBlock * blockSize, // a multiplication, so that it cannot wrap at 32 bits as << would
    xattrStart: raw.xattrBlock * blockSize,
    epoch: BigInt.asIntN(64, raw.epoch) * 1_000_000_000n + BigInt(raw.fixedNsec),
    buildTime: raw.buildTime,
    uuid: raw.uuid.slice(),
    volumeName: (end < 0 ? name : name.slice(0, end)) as ByteString,
    featureCompat: raw.featureCompat,
    featureIncompat: raw.featureIncompat,
    algorithms: algorithmsOf(raw.compression, has("compressionConfigs"), has("zeroPadding")),
    isZeroPadded: has("zeroPadding"),
    deviceCount: has("deviceTable") ? checkedDevices(raw.extraDevices) : 0,
    deviceTableStart: raw.deviceTableSlot * RawDeviceSlot.size,
    packedNid: raw.packedNid === 0n ? undefined : plainNid(raw.packedNid, "the packed inode"),
    metaboxNid: has("metabox") ? metaboxNid(bytes) : undefined,
    hasXattrFilter: (raw.featureCompat & COMPAT.xattrFilter) !== 0 && raw.xattrFilter === 0,
    xattrPrefixCount: raw.xattrPrefixCount,
    xattrPrefixStart: raw.xattrPrefixStart * LONG_PREFIX_UNIT,
    settingsSize: 0,
    windowSizes: {},
  };
}

function refuseFeatures(incompat: number): void {
  const unknown: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const value = 2 ** bit;
    if ((incompat & value) !== 0 && (SUPPORTED_INCOMPAT & value) === 0) unknown.push(`0x${value.toString(16)}`);
  }
  if (unknown.length > 0)
    throw new UnsupportedError("erofs-feature", `incompatible EROFS features are not known: ${unknown.join(", ")}`);
}

/** Without COMPR_CFGS the field holds LZ4's distance, and images of before 5.4 may have LZ4 without saying so. */
function algorithmsOf(bits: number, hasConfigs: boolean, isZeroPadded: boolean): CompressionAlgorithm[] {
  if (!hasConfigs) return isZeroPadded || bits !== 0 ? ["lz4"] : [];
  if ((bits & ~KNOWN_ALGORITHMS) !== 0)
    throw new UnsupportedError(
      "erofs-feature",
      `compression algorithms 0x${(bits & ~KNOWN_ALGORITHMS).toString(16)} are not implemented`,
    );
  return ALGORITHMS.filter((_, number) => (bits & (1 << number)) !== 0);
}

function checkedDevices(count: number): number {
  if (count <= MAX_DEVICES) return count;
  throw new FormatError("too-many-devices", `the image says that it spreads over ${count} more devices`, {
    offset: SUPERBLOCK_OFFSET + RawSuperblock.fields.extraDevices.offset,
    expected: MAX_DEVICES,
    actual: count,
  });
}

function metaboxNid(bytes: Uint8Array): number {
  if (bytes.length < RawSuperblock.size + RawSuperblockExtension.size)
    throw new FormatError("truncated", "the superblock has no room for the metabox that it promises", {
      offset: SUPERBLOCK_OFFSET + RawSuperblock.fields.extensionSlots.offset,
    });
  return plainNid(RawSuperblockExtension.view(bytes, RawSuperblock.size).metaboxNid, "the metabox");
}

/**
 * An inode number of ours: the slot, with {@link METABOX_BIT} for inodes in the metabox. Throws FormatError
 * `nid-out-of-range` for a slot that no image of less than 2^53 bytes has.
 */
export function parseNid(raw: bigint, what: string): number {
  const slot = raw & (DISK_METABOX_BIT - 1n);
  if (slot >= BigInt(MAX_SLOTS)) throw new FormatError("nid-out-of-range", `${what} has inode number ${raw}`);
  return Number(slot) + (raw === slot ? 0 : METABOX_BIT);
}

/** Of an inode that others are found by: it cannot itself be found by one. */
function plainNid(raw: bigint, what: string): number {
  if ((raw & DISK_METABOX_BIT) !== 0n)
    throw new FormatError("nid-out-of-range", `${what} is said to lie in the metabox`);
  return parseNid(raw, what);
}

/** For people: `12`, or `12 of the metabox`. */
export function showNid(nid: number): string {
  return nid < METABOX_BIT ? String(nid) : `${nid - METABOX_BIT} of the metabox`;
}

/** One after the other behind the superblock, each a u16 of its size and then that many bytes. */
async function readSettings(
  source: Source,
  superblock: Superblock,
): Promise<Pick<Superblock, "windowSizes" | "settingsSize">> {
  const sizes: Partial<Record<CompressionAlgorithm, number>> = {};
  let at = SUPERBLOCK_OFFSET + superblock.size;
  const take = async (length: number): Promise<Uint8Array> => {
    if (at + length > source.size)
      throw new FormatError("truncated", `compression settings at ${at} lie outside the image`, { offset: at });
    const bytes = await source.read(at, length);
    at += length;
    return bytes;
  };
  for (const algorithm of superblock.algorithms) {
    at = alignUp(at, 4);
    const length = cursor(await take(2), "compression settings").u16le();
    const window = windowSizeOf(algorithm, await take(length));
    if (window !== undefined) sizes[algorithm] = window;
  }
  return { windowSizes: sizes, settingsSize: at - SUPERBLOCK_OFFSET - superblock.size };
}

function windowSizeOf(algorithm: CompressionAlgorithm, config: Uint8Array): number | undefined {
  switch (algorithm) {
    case "lz4":
      return RawLz4Config.view(config).maxDistance || undefined;
    case "microlzma": {
      const { dictionarySize, format } = RawLzmaConfig.view(config);
      if (format !== 0) throw new UnsupportedError("erofs-feature", `LZMA format ${format} is not implemented`);
      if (dictionarySize > MAX_LZMA_DICTIONARY)
        throw new FormatError("bad-config", `LZMA dictionary of ${dictionarySize} bytes`, {
          expected: MAX_LZMA_DICTIONARY,
          actual: dictionarySize,
        });
      return dictionarySize;
    }
    case "deflate":
      return 2 ** Math.min(RawDeflateConfig.view(config).windowBits, 15);
    case "zstd": {
      const { format, windowLog } = RawZstdConfig.view(config);
      if (format !== 0) throw new UnsupportedError("erofs-feature", `zstd format ${format} is not implemented`);
      return 2 ** (Math.min(windowLog, 21) + ZSTD_MIN_WINDOW_LOG);
    }
  }
}

/** Throws FormatError `truncated`. */
export async function readDeviceTable(source: Source, superblock: Superblock): Promise<DeviceSlot[]> {
  const { deviceCount, deviceTableStart: start, blockSize } = superblock;
  if (deviceCount === 0) return [];
  if (start + deviceCount * RawDeviceSlot.size > source.size)
    throw new FormatError("truncated", "the device table lies outside the image", { offset: start });
  const bytes = await source.read(start, deviceCount * RawDeviceSlot.size);
  const isLong = (superblock.featureIncompat & INCOMPAT.bits48) !== 0;
  return Array.from({ length: deviceCount }, (_, i) => {
    const raw = RawDeviceSlot.view(bytes, i * RawDeviceSlot.size);
    const address = raw.addressLo + (isLong ? raw.addressHi * 2 ** 32 : 0);
    const blocks = raw.blocksLo + (isLong ? raw.blocksHi * 2 ** 32 : 0);
    return { tag: raw.tag.slice(), size: blocks * blockSize, start: address === 0 ? undefined : address * blockSize };
  });
}

/** Recomputes the checksum. True where there is none to compare with. */
export async function checksumMatches(source: Source, { blockSize, featureCompat }: Superblock): Promise<boolean> {
  if ((featureCompat & COMPAT.superblockChecksum) === 0) return true;
  const length = Math.min(checksummedSize(blockSize), source.size - SUPERBLOCK_OFFSET);
  const covered = new Uint8Array(await source.read(SUPERBLOCK_OFFSET, length)); // a copy; `slice` of a Buffer is none
  const { checksum } = RawSuperblock.view(covered);
  const { offset, size } = RawSuperblock.fields.checksum;
  covered.fill(0, offset, offset + size);
  return crc32cRegister(covered, 0xffffffff) === checksum;
}

/** Throws IntegrityError `superblock-checksum`. */
export async function verifyChecksum(source: Source, superblock: Superblock): Promise<void> {
  if (!(await checksumMatches(source, superblock)))
    throw new IntegrityError("superblock-checksum", "the checksum of the EROFS superblock does not match", {
      offset: SUPERBLOCK_OFFSET,
    });
}

/** Whether the magic of a superblock is where it should be. */
export async function isErofs(source: Source): Promise<boolean> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size) return false;
  return RawSuperblock.view(await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size)).magic === SUPERBLOCK_MAGIC;
}
