/** Inodes, interpreted. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type NodeType, TYPE_BITS } from "../../tree/index.ts";
import {
  DATA_LAYOUTS,
  type DataLayout,
  FORMAT_EXTENDED,
  FORMAT_KNOWN_BITS,
  FORMAT_LAYOUT_MASK,
  FORMAT_LAYOUT_SHIFT,
  FORMAT_SHORT,
  INODE_SLOT_SIZE,
  METABOX_BIT,
  RawInodeCompact,
  RawInodeExtended,
  xattrBodySize,
} from "./format.ts";
import { type Superblock, showNid } from "./superblock.ts";

export interface ErofsInode {
  /** The slot that it stands in; with METABOX_BIT where that is one of the metabox. */
  readonly nid: number;
  readonly type: NodeType;
  /** Low 12 bits of `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint;
  readonly links: number;
  /** Bytes of content, link target or directory. */
  readonly size: number;
  readonly layout: DataLayout;
  readonly isExtended: boolean;
  /** Whether it stands in the metabox, and `position` counts from its start. */
  readonly isInMetabox: boolean;
  /** Of a directory: there is no entry `.`. */
  readonly isDotOmitted: boolean;
  /** Bytes from the start of the image, or of the metabox. */
  readonly position: number;
  /** Bytes of the inode alone; xattrs follow. */
  readonly inodeSize: number;
  /** Bytes. */
  readonly xattrSize: number;
  /** The union i_u as it stands, 48 bits where the inode has them: start block, device number or chunk format, by type and layout. */
  readonly u: number;
  /** A plain inode without blocks: all of it is zeros. */
  readonly isHole: boolean;
}

const TYPES_BY_BITS = /* @__PURE__ */ new Map(
  (Object.entries(TYPE_BITS) as [NodeType, number][]).map(([type, bits]) => [bits, type] as const),
);

/** Bytes from the start of the image, or of the metabox, to an inode. */
export function inodePosition(nid: number, { metaStart }: Superblock): number {
  return nid < METABOX_BIT ? metaStart + nid * INODE_SLOT_SIZE : (nid - METABOX_BIT) * INODE_SLOT_SIZE;
}

/** Interprets an inode. `bytes` starts at it and holds 64 bytes where there are as many. */
export function parseInode(bytes: Uint8Array, nid: number, superblock: Superblock): ErofsInode {
  const position = inodePosition(nid, superblock);
  const compact = RawInodeCompact.view(bytes);
  const layout = DATA_LAYOUTS[(compact.format >> FORMAT_LAYOUT_SHIFT) & FORMAT_LAYOUT_MASK];
  if ((compact.format & ~FORMAT_KNOWN_BITS) !== 0 || layout === undefined)
    throw new UnsupportedError(
      "inode-format",
      `format 0x${compact.format.toString(16)} of inode ${showNid(nid)} is not implemented`,
      { offset: position },
    );
  const type = TYPES_BY_BITS.get(compact.mode & 0o170000);
  if (type === undefined)
    throw new FormatError("bad-mode", `inode ${showNid(nid)} has mode 0o${compact.mode.toString(8)}`, {
      offset: position,
    });
  const isExtended = (compact.format & FORMAT_EXTENDED) !== 0;
  const isShort = (compact.format & FORMAT_SHORT) !== 0;
  const common = {
    nid,
    type,
    mode: compact.mode & 0o7777,
    layout,
    isExtended,
    isInMetabox: nid >= METABOX_BIT,
    isDotOmitted: isShort && type === "directory",
    position,
    xattrSize: xattrBodySize(compact.xattrICount),
  };
  if (!isExtended) {
    const { uid, gid, nb, fileSize, mtime } = compact;
    // Links and the upper bits of the address share a field.
    const hasLinks = type === "directory" || !isShort;
    return {
      ...common,
      ...address(compact.u, hasLinks ? undefined : nb, layout),
      uid,
      gid,
      mtime: superblock.epoch + BigInt(mtime) * 1_000_000_000n,
      links: hasLinks ? nb : 1,
      size: fileSize,
      inodeSize: RawInodeCompact.size,
    };
  }
  const { uid, gid, nb, nlink, mtime, mtimeNsec, fileSize, u } = RawInodeExtended.view(bytes);
  return {
    ...common,
    ...address(u, nb, layout),
    uid,
    gid,
    mtime: BigInt.asIntN(64, mtime) * 1_000_000_000n + BigInt(mtimeNsec),
    links: nlink,
    size: fileSize,
    inodeSize: RawInodeExtended.size,
  };
}

/** @param high bits 32..47, of which a plain 32-bit address has none */
function address(u: number, high: number | undefined, layout: DataLayout): Pick<ErofsInode, "u" | "isHole"> {
  const isNull = u === 0xffffffff && (high === undefined || high === 0xffff);
  const isFlat = layout === "flat-plain" || layout === "flat-inline";
  return { u: isFlat ? u + (high ?? 0) * 2 ** 32 : u, isHole: isNull && layout === "flat-plain" };
}

/** Unpacks Linux's new_encode_dev. */
export function deviceNumbers({ u }: ErofsInode): { readonly major: number; readonly minor: number } {
  const bits = u % 2 ** 32; // bits 32..47 belong to addresses
  return { major: (bits >>> 8) & 0xfff, minor: (bits & 0xff) | ((bits >>> 12) & 0xfff00) };
}
