/** The port through which a host lends threads to what compresses file contents into clusters of whole blocks. */

/** Bytes of content that one call takes, each piece padded to whole blocks. */
export const ENCODE_CAPACITY = 4 * 1024 * 1024;
/** Bytes; the largest cluster that EROFS has. */
export const MAX_CLUSTER_SIZE = 1024 * 1024;

/** How content becomes clusters. The bytes depend on this and on each piece alone. */
export interface ClusterEncoding {
  readonly algorithm: "lz4" | "lz4hc" | "zstd";
  /** How much is tried: 1 to 12 of `lz4hc`, 1 to 19 of `zstd`; `lz4` has one way. */
  readonly level: number;
  /** Bytes: 512 to 4096, a power of two. */
  readonly blockSize: number;
  /**
   * `blocks`: as much content as fits, and each cluster has blocks of its own. `bytes`: of zstd alone; an even part of the
   * content, twice {@link clusterSize}, and clusters stand one directly behind the other.
   */
  readonly packing: "blocks" | "bytes";
  /** Bytes that a cluster may take, a multiple of the block size, at most {@link MAX_CLUSTER_SIZE}. */
  readonly clusterSize: number;
}

/** A part of a slot's input that is encoded by itself. */
export interface Piece {
  /** Bytes from the start of the input. */
  readonly at: number;
  readonly size: number;
}

export interface EncodedPieces {
  /** What stores the pieces, one piece after the other. */
  readonly bytes: Uint8Array;
  /**
   * Pairs, in order: bytes of content, then the blocks (or with packing `bytes` the bytes) that store them times two, plus
   * one where they are compressed.
   * Compressed data ends with its last block, zeros in front; other data starts with its block, zeros behind.
   */
  readonly extents: Uint32Array;
}

/** A buffer that is filled, encoded and read again and again. */
export interface EncodeSlot {
  /** {@link ENCODE_CAPACITY} bytes; not to be touched while they are encoded. */
  readonly input: Uint8Array;
  /** The result is valid until the slot is released. */
  encode(pieces: readonly Piece[], encoding: ClusterEncoding): Promise<EncodedPieces>;
  release(): void;
}

export interface ClusterEncoder {
  /** Slots that can be in use at once. */
  readonly slots: number;
  /** Waits for a free one. */
  take(): Promise<EncodeSlot>;
}
