/** How content is compressed when an image is written: for all files, and for some otherwise. */
import type { ByteString } from "../../bytes/index.ts";
import type { ClusterEncoder } from "../../codecs/index.ts";
import type { Tails } from "./data.ts";
import type { PlannedInode } from "./inodes.ts";

/** How content is compressed. */
export interface CompressionMethod {
  /** `lz4hc` takes more time and reads as `lz4`. Linux reads zstd from 6.10 on. */
  readonly algorithm: "lz4" | "lz4hc" | "zstd";
  /** How much is tried: 1 to 12 of `lz4hc`, 1 to 19 of `zstd`, 1 of `lz4`. */
  readonly level: number;
  /** `bytes`, of zstd alone: smaller and faster. Linux before 6.15 cannot read it. Default `blocks`. */
  readonly packing?: "blocks" | "bytes" | undefined;
  /** Bytes that a cluster may take, a multiple of the block size, at most 1 MiB. Linux before 5.13 reads only one block. */
  readonly clusterSize: number;
}

export interface Compression extends CompressionMethod {
  readonly encoder: ClusterEncoder;
  /** What some files get instead. */
  readonly hints?: CompressionHints | undefined;
}

export interface CompressionHints {
  /** All that {@link choose} may return; the superblock speaks of them. */
  readonly methods: readonly CompressionMethod[];
  /** By the first name of a file: another method, `none` to store it as it is, undefined for what the others get. */
  choose(path: ByteString): CompressionMethod | "none" | undefined;
}

/** How a file is compressed; undefined where it is stored as it is. */
export function methodOf({ path }: PlannedInode, compression: Compression): CompressionMethod | undefined {
  const chosen = compression.hints?.choose(path) ?? compression;
  return chosen === "none" ? undefined : chosen;
}

/** Bytes that the encoder counts in. */
export function unitOf(method: CompressionMethod, blockSize: number): number {
  return method.packing === "bytes" ? 1 : blockSize;
}

/** Only maps that are compact indexes can say it. */
export function packsEnds(tails: Tails, { packing }: CompressionMethod): boolean {
  return (tails === "ztailpacking" || tails === "fragments") && packing !== "bytes";
}
