/** What a superblock says about compression. Spec: Linux fs/erofs/super.c and decompressor.c (z_erofs_parse_cfgs), as of 6.18. */
import { concatBytes } from "../../bytes/index.ts";
import type { Compression } from "./compress-method.ts";
import { INCOMPAT } from "./format.ts";
import { ALGORITHMS, RawLz4Config, RawZstdConfig, ZSTD_MIN_WINDOW_LOG } from "./format-compressed.ts";

export interface CompressionFeatures {
  /** Bits of `featureIncompat`. */
  readonly incompat: number;
  /** The superblock's `compression`. */
  readonly compression: number;
  /** What follows the superblock. */
  readonly configs: Uint8Array;
}

export const NO_COMPRESSION: CompressionFeatures = /* @__PURE__ */ Object.freeze({
  incompat: 0,
  compression: 0,
  configs: /* @__PURE__ */ new Uint8Array(0),
});

/** How far an LZ4 match reaches back, bytes; the kernel takes it for how much it must keep. */
const LZ4_MAX_DISTANCE = 65535;

export function algorithmNumber(algorithm: Compression["algorithm"]): number {
  return ALGORITHMS.indexOf(algorithm === "lz4hc" ? "lz4" : algorithm);
}

/** log2 of the window of zstd frames: no cluster has more content. Linux takes no more. */
const ZSTD_WINDOW_LOG = 20;

/**
 * Only what is needed: LZ4 in clusters of one block mounts on Linux 5.4, larger ones on 5.13, zstd on 6.10, packed bytes on
 * 6.15. Configurations stand in the order of the algorithms' numbers.
 */
export function featuresOf(compression: Compression, blockSize: number): CompressionFeatures {
  const methods = [compression, ...(compression.hints?.methods ?? [])];
  const zstd = methods.filter(({ algorithm }) => algorithm === "zstd");
  const lz4 = methods.filter(({ algorithm }) => algorithm !== "zstd");
  const largest = Math.max(blockSize, ...lz4.map(({ clusterSize }) => clusterSize));
  if (zstd.length === 0 && largest === blockSize)
    return { incompat: INCOMPAT.zeroPadding, compression: LZ4_MAX_DISTANCE, configs: new Uint8Array(0) };
  const reserved = new Uint8Array(0);
  const configs: Uint8Array[] = [];
  const add = (config: Uint8Array): void => void configs.push(Uint8Array.of(config.length, 0), config);
  if (lz4.length > 0)
    add(RawLz4Config.encode({ maxDistance: LZ4_MAX_DISTANCE, maxClusterBlocks: largest / blockSize, reserved }));
  if (zstd.length > 0)
    add(RawZstdConfig.encode({ format: 0, windowLog: ZSTD_WINDOW_LOG - ZSTD_MIN_WINDOW_LOG, reserved }));
  const isPacked = zstd.some(({ packing }) => packing === "bytes");
  const numbers = new Set(methods.map(({ algorithm }) => algorithmNumber(algorithm)));
  return {
    incompat: INCOMPAT.zeroPadding | INCOMPAT.compressionConfigs | (isPacked ? INCOMPAT.bits48 : 0),
    compression: [...numbers].reduce((bits, number) => bits | (1 << number), 0),
    configs: concatBytes(...configs),
  };
}
