/** Says what is in an image, as plain values for a table or JSON. */
import { formatUuid, showBytes } from "../../bytes/index.ts";
import { showPath } from "../../tree/index.ts";
import type { Extent } from "./extent.ts";
import type { ErofsImage } from "./read.ts";
import { walkErofs } from "./walk.ts";

export interface SuperblockDump {
  /** Bytes. */
  readonly blockSize: number;
  readonly blockCount: number;
  readonly inodeCount: number;
  readonly rootNid: number;
  /** First block of the metadata. */
  readonly metaBlock: number;
  /** First block of shared xattrs; 0 where there are none. */
  readonly xattrBlock: number;
  /** Nanoseconds since 1970, decimal. */
  readonly epoch: string;
  readonly uuid: string;
  readonly volumeName: string;
  /** Bits, in hexadecimal. */
  readonly featureCompat: string;
  readonly featureIncompat: string;
}

export interface InodeDump {
  /** First name. */
  readonly path: string;
  readonly nid: number;
  readonly type: string;
  readonly layout: string;
  /** 32 or 64 bytes. */
  readonly inodeSize: number;
  /** Bytes of inline xattrs. */
  readonly xattrSize: number;
  /** Bytes. */
  readonly size: number;
  readonly links: number;
  /** Where the content comes from. */
  readonly extents: readonly Extent[];
}

export function dumpSuperblock({ superblock }: ErofsImage): SuperblockDump {
  const { blockSize, blockCount, inodeCount, rootNid } = superblock;
  return {
    blockSize,
    blockCount,
    inodeCount,
    rootNid,
    metaBlock: superblock.metaStart / blockSize,
    xattrBlock: superblock.xattrStart / blockSize,
    epoch: String(superblock.epoch),
    uuid: formatUuid(superblock.uuid),
    volumeName: showBytes(superblock.volumeName),
    featureCompat: `0x${superblock.featureCompat.toString(16)}`,
    featureIncompat: `0x${superblock.featureIncompat.toString(16)}`,
  };
}

/** Every inode once, under its first name. Throws what {@link walkErofs} throws. */
export async function* dumpInodes(image: ErofsImage): AsyncGenerator<InodeDump> {
  for await (const { path, inode, isKnown } of walkErofs(image)) {
    if (isKnown) continue;
    const { nid, type, layout, inodeSize, xattrSize, size, links } = inode;
    const extents: Extent[] = [];
    for await (const extent of image.extents(inode)) extents.push(extent);
    yield { path: showPath(path), nid, type, layout, inodeSize, xattrSize, size, links, extents };
  }
}
