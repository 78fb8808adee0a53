/** What a host lends to the operations. Nothing else of the machine is seen by them. */
import type { ClusterEncoder, Decompressor } from "../codecs/index.ts";
import type { BlockHasher, Hashes } from "../hash/index.ts";
import type { ReadOptions, ScratchSpace, Source } from "../source/index.ts";
import type { Reporter } from "./report.ts";

/** Compression whose output is part of an image: the same bytes on every host, so each is one pinned library. */
export interface Compressors {
  gzip(bytes: Uint8Array): Promise<Uint8Array>;
  zstd(bytes: Uint8Array): Promise<Uint8Array>;
}

/**
 * What {@link Compressors} `zstd` makes of all bytes of `content`. They are read front to back and held once, for machines with
 * little memory.
 */
export type CompressContent = (content: Source, options?: ReadOptions) => Promise<Uint8Array>;

/** As {@link Compressors}, for many independent pieces; the host may spread them over workers. */
export interface FrameCompressor {
  /**
   * A zstd frame of each `frameSize` bytes of `blocks`, the last may have fewer. `blocks` must not change until the promise
   * settles; calls may overlap.
   */
  compressFrames(blocks: Uint8Array, frameSize: number, level: number): Promise<readonly Uint8Array[]>;
}

/** The `size` bytes that are in one zstd frame. Throws FormatError `bad-zstd`, naming `what`. Never makes more than `size` bytes. */
export type DecompressFrame = (frame: Uint8Array, size: number, what: string) => Uint8Array;

export interface Environment {
  readonly hashes: Hashes;
  readonly blockHasher: BlockHasher;
  readonly compressors: Compressors;
  /** For roots that are compressed; without, that is done on the calling thread. */
  readonly clusterEncoder?: ClusterEncoder | undefined;
  /** To read them back; without, that is done in plain TypeScript. */
  readonly decompressor?: Decompressor | undefined;
  /** The function of `bytes/`, where the host has a faster one. */
  readonly crc32?: ((bytes: Uint8Array, previous: number) => number) | undefined;
  readonly scratch: ScratchSpace;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}
