/** What the parts of the reader share: the image, its devices, and the inodes that hold other inodes' bytes. */
import type { Decompressor } from "../../codecs/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import type { ClusterCache } from "./clusters.ts";
import type { Extent } from "./extent.ts";
import type { ErofsInode } from "./inode.ts";
import { type DeviceSlot, type Superblock, showNid } from "./superblock.ts";

export interface Volume {
  readonly superblock: Superblock;
  /** The image itself. */
  readonly source: Source;
  /** The same, for metadata: read in pieces and remembered. */
  readonly metadata: Source;
  /** The metabox' content, remembered too. */
  readonly metabox: Source | undefined;
  readonly deviceTable: readonly DeviceSlot[];
  /** The further devices by number less 1, or none: then their data is looked for in the image itself. */
  readonly devices: readonly Source[];
  readonly decompressor: Decompressor;
  readonly clusters: ClusterCache;
  /** Free buffers for stored bytes, as many as were in use at once. */
  readonly buffers: Uint8Array[];
  /** Where an inode and what follows it stands. Throws FormatError `no-metabox`. */
  metadataOf(inode: Pick<ErofsInode, "nid" | "isInMetabox">): Source;
  /** Content of the packed inode. Throws FormatError `no-packed-inode`. */
  packed(): Promise<Source>;
  /** An extent of a device as the device has it: its number fits, and an address in the view of all devices is turned into one of its own. */
  place(extent: Extent): Extent;
}

/** Compressed metadata may stand for this many times the bytes of the image. */
export const MAX_METADATA_RATIO = 64;

/** More bytes than all inodes, xattrs, directories and links of a sound image have together. */
export function metadataLimit({ source, superblock }: Pick<Volume, "source" | "superblock">): number {
  const isCompressed = superblock.algorithms.length > 0;
  return source.size * (isCompressed ? MAX_METADATA_RATIO : 1);
}

export function metadataOf(
  volume: Pick<Volume, "metadata" | "metabox">,
  inode: Pick<ErofsInode, "nid" | "isInMetabox">,
) {
  if (!inode.isInMetabox) return volume.metadata;
  if (volume.metabox !== undefined) return volume.metabox;
  throw new FormatError("no-metabox", `inode ${showNid(inode.nid)} is asked for, the image has no metabox`);
}

/**
 * As the kernel does: a number that is there and not 0 means that device, its upper bits nothing; number 0 may mean an
 * address in the view of all devices as one. Throws FormatError `bad-device`.
 */
export function placeOn({ deviceTable, devices }: Pick<Volume, "deviceTable" | "devices">, extent: Extent): Extent {
  if (deviceTable.length === 0) {
    // Without a device table the field has no bits that count.
    return extent.device === 0 ? extent : { ...extent, device: 0 };
  }
  const mask = 2 ** Math.ceil(Math.log2(deviceTable.length + 1)) - 1;
  const device = extent.device & mask;
  if (device > deviceTable.length)
    throw new FormatError("bad-device", `data on device ${device} of ${deviceTable.length}`, { offset: extent.start });
  if (device > 0) {
    const slot = deviceTable[device - 1];
    if (devices.length === 0 && slot?.start !== undefined)
      return { ...extent, device: 0, start: extent.start + slot.start };
    return { ...extent, device };
  }
  if (devices.length > 0)
    for (const [i, slot] of deviceTable.entries())
      if (slot.start !== undefined && extent.start >= slot.start && extent.start < slot.start + slot.size)
        return { ...extent, device: i + 1, start: extent.start - slot.start };
  return extent.device === 0 ? extent : { ...extent, device: 0 };
}

/** Memory in which contents are read at the least cost; never given back, so for few buffers. @param size bytes */
export function bufferOf({ superblock, decompressor }: Volume, size: number): Uint8Array {
  return decompressor.buffer?.(superblock.algorithms, size) ?? new Uint8Array(size);
}

/** The bytes that an extent's place counts in. Throws UnsupportedError `erofs-device` where nobody gave the device. */
export function deviceOf({ source, devices }: Volume, { device, start }: Extent, nid: number): Source {
  if (device === 0) return source;
  const found = devices[device - 1];
  if (found !== undefined) return found;
  throw new UnsupportedError(
    "erofs-device",
    `inode ${showNid(nid)} has data on device ${device} of the image, which is not at hand`,
    { offset: start },
  );
}
