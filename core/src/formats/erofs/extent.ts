/**
 * Where the content of an inode comes from: the port between the maps, which parse what an image says, and whoever
 * reads, checks or shows it.
 */
import type { CompressionAlgorithm } from "../../codecs/index.ts";

/**
 * How content is stored. `hole`: not at all, it is zeros. `plain`: as it is, at the start of what is stored.
 * `interlaced`: as it is but rotated, see {@link rotation}. `fragment`: as a part of the packed inode's content.
 */
export type Encoding = "hole" | "plain" | "interlaced" | "fragment" | CompressionAlgorithm;

/**
 * What `start` counts from. `device`: the device with that number, 0 being the image itself; `metabox` and `packed`: the
 * content of that inode; `none`: a hole.
 */
export type Space = "device" | "metabox" | "packed" | "none";

/** A run of content that is stored in one piece. Extents of an inode follow each other without gap. */
export interface Extent {
  /** Bytes from the start of the content. */
  readonly at: number;
  /** Bytes of content, never 0. */
  readonly size: number;
  readonly encoding: Encoding;
  readonly space: Space;
  /** 0 but where `space` is `device`. */
  readonly device: number;
  /** Bytes from the start of the space. */
  readonly start: number;
  /** Bytes there; 0 for a hole. Of flat data as many as `size`. */
  readonly storedSize: number;
  /** It stands in the metadata, behind its inode. */
  readonly isInline: boolean;
  /** What is stored yields more than this extent, which is its beginning: others share it. */
  readonly isPartial: boolean;
}

/** An extent of the image itself, as it is. */
export function plainExtent(at: number, size: number, start: number): Extent {
  return {
    at,
    size,
    encoding: "plain",
    space: "device",
    device: 0,
    start,
    storedSize: size,
    isInline: false,
    isPartial: false,
  };
}

export function holeExtent(at: number, size: number): Extent {
  return { ...plainExtent(at, size, 0), encoding: "hole", space: "none", storedSize: 0 };
}

/** @param start bytes from the start of the packed inode's content */
export function fragmentExtent(at: number, size: number, start: number): Extent {
  return { ...plainExtent(at, size, start), encoding: "fragment", space: "packed" };
}

/** Whether what is stored must be decompressed. */
export function isCompression(encoding: Encoding): encoding is CompressionAlgorithm {
  return encoding === "lz4" || encoding === "zstd" || encoding === "microlzma" || encoding === "deflate";
}

/**
 * Of an interlaced extent: bytes at its beginning that are the last ones stored; the rest begins where the stored bytes
 * begin. So whole blocks of content lie in whole blocks, whatever the extent's start.
 */
export function rotation({ at, size }: Extent, blockSize: number): { readonly head: number; readonly skip: number } {
  const skip = at % blockSize;
  return { head: Math.min(size, blockSize - skip), skip };
}
