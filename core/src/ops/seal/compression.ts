/** How a root is compressed: what users say and releases record, as what the writer takes. */
import { inlineClusterEncoder, MAX_CLUSTER_SIZE } from "../../codecs/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Compression } from "../../formats/erofs/index.ts";
import type { Environment } from "../environment.ts";
import type { Release } from "../release/release.ts";

export interface CompressionOptions {
  /** `none` (the default) or `lz4`. */
  readonly compress?: string | undefined;
  /** Bytes that a cluster may take; default one block. */
  readonly cluster?: number | undefined;
}

/** All that decides about the bytes. */
export interface RootCompression {
  readonly algorithm: "lz4";
  readonly clusterSize: number;
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
  if (compress !== "lz4") throw new PolicyError("bad-compression", `compression ${compress} is not implemented`);
  const clusterSize = cluster ?? blockSize;
  if (clusterSize < blockSize || clusterSize > MAX_CLUSTER_SIZE || clusterSize % blockSize !== 0)
    throw new PolicyError(
      "bad-compression",
      `clusters of ${clusterSize} bytes: not a multiple of ${blockSize} up to ${MAX_CLUSTER_SIZE}`,
      { expected: MAX_CLUSTER_SIZE, actual: clusterSize },
    );
  return { algorithm: compress, clusterSize };
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
  return chosen === undefined ? {} : { compress: chosen.algorithm, cluster: chosen.clusterSize };
}
