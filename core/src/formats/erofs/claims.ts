/** Gives bytes of an image, and of what its metabox holds, to what they belong to. */
import { alignUp } from "../../bytes/index.ts";
import { Accounts, type SpaceKind } from "./accounts.ts";
import { type Extent, isCompression } from "./extent.ts";
import {
  COMPAT,
  LONG_PREFIX_UNIT,
  RawDeviceSlot,
  RawLongPrefix,
  RawXattrEntry,
  SUPERBLOCK_OFFSET,
  XATTR_UNIT,
} from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";
import { sharedArea } from "./read-xattrs.ts";
import { readLongPrefixes } from "./xattr-prefixes.ts";

export class Claims {
  /** Bytes of the image itself. */
  readonly image = new Accounts();
  /** Bytes of what its metabox holds. */
  readonly metabox = new Accounts();
  /** Bytes of content of files on further devices. */
  deviceBytes = 0;
  private readonly erofs: ErofsImage;

  constructor(erofs: ErofsImage) {
    this.erofs = erofs;
  }

  /** What the superblock says, but for the prefixes. */
  claimHead(): void {
    const { superblock } = this.erofs;
    this.image.claim("boot area", 0, SUPERBLOCK_OFFSET);
    this.image.claim("superblock", SUPERBLOCK_OFFSET, superblock.size);
    this.image.claim("settings", SUPERBLOCK_OFFSET + superblock.size, superblock.settingsSize);
    this.image.claim("device table", superblock.deviceTableStart, superblock.deviceCount * RawDeviceSlot.size);
  }

  async claimPrefixes(): Promise<void> {
    const { volume, superblock } = this.erofs;
    const prefixes = await readLongPrefixes(volume);
    const isPlain = (superblock.featureCompat & COMPAT.plainXattrPrefixes) !== 0;
    if (!isPlain && volume.metabox === undefined && superblock.packedNid !== undefined) return; // bytes of the packed inode
    let at = superblock.xattrPrefixStart;
    for (const { infix } of prefixes) at = alignUp(at, LONG_PREFIX_UNIT) + RawLongPrefix.size + infix.length;
    this.of({ isInMetabox: !isPlain && volume.metabox !== undefined }).claim(
      "xattr prefixes",
      superblock.xattrPrefixStart,
      at - superblock.xattrPrefixStart,
    );
  }

  /** Where the bytes of an inode count. */
  of({ isInMetabox }: { readonly isInMetabox: boolean }): Accounts {
    return isInMetabox ? this.metabox : this.image;
  }

  /** Fragments belong to the packed inode, and devices have bytes of their own. */
  claimExtent(inode: ErofsInode, extent: Extent): void {
    const { space, device, start, storedSize } = extent;
    if (space === "none" || space === "packed") return;
    if (device !== 0) {
      this.deviceBytes += storedSize;
      return;
    }
    const accounts = space === "metabox" ? this.metabox : this.image;
    const { encoding, size, isPartial } = extent;
    const cluster = isCompression(encoding) ? { encoding, size, isPartial } : undefined;
    accounts.claim(this.kindOf(inode, extent.isInline, cluster === undefined), start, storedSize, inode.nid, cluster);
  }

  private kindOf({ nid, type, layout }: ErofsInode, isInline: boolean, isPlain: boolean): SpaceKind {
    const { packedNid, metaboxNid } = this.erofs.superblock;
    if (isInline) return "inline data";
    if (nid === packedNid) return "packed data";
    if (nid === metaboxNid) return "metabox";
    if (!isPlain) return "compressed data";
    if (layout === "chunk-based") return "chunk data";
    return type === "directory" ? "directories" : type === "symlink" ? "links" : "file data";
  }

  async claimShared(id: number): Promise<void> {
    const { volume, superblock } = this.erofs;
    const area = sharedArea(volume);
    const start = superblock.xattrStart + id * XATTR_UNIT;
    const { nameSize, valueSize } = RawXattrEntry.view(await area.read(start, RawXattrEntry.size));
    const accounts = area === volume.metadata ? this.image : this.metabox;
    accounts.claim("shared xattrs", start, RawXattrEntry.size + nameSize + valueSize);
  }
}
