/** How a root is compressed: what users say and releases record, as what the writer takes. */
import { inlineClusterEncoder, MAX_CLUSTER_SIZE, MAX_LEVELS } from "../../codecs/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Compression } from "../../formats/erofs/index.ts";
import type { Environment } from "../environment.ts";
import type { Release } from "../release/release.ts";

export interface CompressionOptions {
  /** `none` (the default), `lz4`, `lz4hc` or `zstd`, the last two with a level where it is not the default: `lz4hc,12`. */
  readonly compress?: string | undefined;
  /** Bytes that a cluster may take; default one block, of zstd 64 KiB. */
  readonly cluster?: number | undefined;
}

/** All that decides about the bytes. */
export interface RootCompression {
  readonly algorithm: Compression["algorithm"];
  readonly level: number;
  readonly clusterSize: number;
}

/** Those of mkfs.erofs. */
const DEFAULT_LEVELS: Readonly<Record<Compression["algorithm"], number>> = { lz4: 1, lz4hc: 9, zstd: 3 };
/** Bytes; zstd has little to work with in less. */
const ZSTD_CLUSTER = 64 * 1024;

const isAlgorithm = (name: string): name is Compression["algorithm"] => Object.hasOwn(MAX_LEVELS, name);

function showMethod({ algorithm, level }: RootCompression): string {
  return algorithm === "lz4" ? algorithm : `${algorithm},${level}`;
}

/** Throws PolicyError `bad-compression`. Undefined where contents are stored as they are. */
export function chooseCompression(
  { compress = "none", cluster }: CompressionOptions,
  blockSize: number,
): RootCompression | undefined {
  if (compress === "none") {
    if (cluster !== undefined)
      throw new PolicyError("bad-compression", "a cluster size says nothing where nothing is compressed");
    return undefined;
  }
  const [, name = "", given] = /^([a-z0-9]+)(?:,(\d{1,3}))?$/.exec(compress) ?? [];
  if (!isAlgorithm(name)) throw new PolicyError("bad-compression", `compression ${compress} is not known`);
  const level = given === undefined ? DEFAULT_LEVELS[name] : Number(given);
  if (level < 1 || level > MAX_LEVELS[name])
    throw new PolicyError("bad-compression", `${name} has levels 1 to ${MAX_LEVELS[name]}, not ${level}`);
  const clusterSize = cluster ?? (name === "zstd" ? ZSTD_CLUSTER : blockSize);
  if (clusterSize < blockSize || clusterSize > MAX_CLUSTER_SIZE || clusterSize % blockSize !== 0)
    throw new PolicyError(
      "bad-compression",
      `clusters of ${clusterSize} bytes: not a multiple of ${blockSize} up to ${MAX_CLUSTER_SIZE}`,
      { expected: MAX_CLUSTER_SIZE, actual: clusterSize },
    );
  return { algorithm: name, level, clusterSize };
}

/** As the writer takes it, with what the host lends. */
export function writerCompression(
  chosen: RootCompression | undefined,
  { clusterEncoder }: Pick<Environment, "clusterEncoder">,
): Compression | undefined {
  return chosen && { ...chosen, encoder: clusterEncoder ?? inlineClusterEncoder() };
}

/** What a release says; nothing where nothing is compressed. */
export function recordCompression(chosen: RootCompression | undefined): Release["options"] {
  return chosen === undefined ? {} : { compress: showMethod(chosen), cluster: chosen.clusterSize };
}
