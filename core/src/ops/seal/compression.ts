/** How a root is compressed: what users say and releases record, as what the writer takes. */

import type { ByteString } from "../../bytes/index.ts";
import { inlineClusterEncoder, MAX_CLUSTER_SIZE, MAX_LEVELS } from "../../codecs/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Compression } from "../../formats/erofs/index.ts";
import type { Glob } from "../../tree/index.ts";
import type { Environment } from "../environment.ts";
import type { Release } from "../release/release.ts";
import { parseHints } from "./hints.ts";
import { type KernelNeed, lackOf, OLDEST_KERNEL, type TargetKernel } from "./target-kernel.ts";

export interface CompressionOptions {
  /**
   * `none` (the default), `lz4`, `lz4hc` or `zstd`, the last two with a level where it is not the default: `lz4hc,12`; or
   * `auto`: what the target kernel reads best.
   */
  readonly compress?: string | undefined;
  /** Bytes that a cluster may take; default one block, of zstd and `auto` 64 KiB where the kernel reads that. */
  readonly cluster?: number | undefined;
  /** Lines of a pattern, a method and at most a cluster size; the first that matches a file's path decides. */
  readonly compressHints?: readonly string[] | undefined;
  /** How clusters of zstd stand; by default in bytes where the kernel reads that, Linux 6.15 and later. */
  readonly packing?: "blocks" | "bytes" | undefined;
  /** `auto` (the default), the kernel of the root; else a version. Nothing is written that it cannot read; `any` asks none. */
  readonly targetKernel?: string | undefined;
  /** Whether the root is read back and compared before it is published; by default all but the bytes of contents that landed. */
  readonly verify?: boolean | undefined;
}

/** How content is compressed. */
export interface RootMethod {
  readonly algorithm: Compression["algorithm"];
  readonly level: number;
  readonly packing: "blocks" | "bytes";
  readonly clusterSize: number;
}

interface RootHint {
  readonly glob: Glob;
  /** Undefined where files are stored as they are. */
  readonly method: RootMethod | undefined;
}

/** All that decides about the bytes of compressed content. */
export interface RootCompression {
  /** Of files without a hint; undefined where they are stored as they are. */
  readonly method: RootMethod | undefined;
  readonly hints: readonly RootHint[];
}

/** Those of mkfs.erofs. */
const DEFAULT_LEVELS: Readonly<Record<Compression["algorithm"], number>> = { lz4: 1, lz4hc: 9, zstd: 3 };
/** Bytes. Half the size of a cluster more or less changes little: docs/performance.md. */
const LARGE_CLUSTER = 64 * 1024;

/** What `auto` tries, in this order; docs/performance.md has the measurements. */
const PREFERRED: readonly Method[] = [
  { algorithm: "zstd", level: 3, clusterSize: LARGE_CLUSTER },
  { algorithm: "lz4hc", level: 9, clusterSize: LARGE_CLUSTER },
  { algorithm: "lz4hc", level: 9, clusterSize: 4096 },
];

/** What a user says, without what the kernel adds. */
type Method = Omit<RootMethod, "packing">;

const isAlgorithm = (name: string): name is Compression["algorithm"] => Object.hasOwn(MAX_LEVELS, name);

/** LZ4 is part of every EROFS that decompresses at all. */
function needOf({ algorithm, packing, clusterSize }: RootMethod, blockSize: number): KernelNeed {
  if (packing === "bytes") return { since: [6, 15], option: "CONFIG_EROFS_FS_ZIP_ZSTD" };
  if (algorithm === "zstd") return { since: [6, 10], option: "CONFIG_EROFS_FS_ZIP_ZSTD" };
  return { since: clusterSize > blockSize ? [5, 13] : [5, 4], option: "CONFIG_EROFS_FS_ZIP" };
}

function showMethod({ algorithm, level }: Method): string {
  return algorithm === "lz4" ? algorithm : `${algorithm},${level}`;
}

/** What is asked for, read and checked: `auto` where a kernel is to choose, undefined for none. Throws PolicyError `bad-compression`. */
function parseMethod(
  { compress = "none", cluster }: Pick<CompressionOptions, "compress" | "cluster">,
  blockSize: number,
): Method | "auto" | undefined {
  if (compress === "none") {
    if (cluster !== undefined)
      throw new PolicyError("bad-compression", "a cluster size says nothing where nothing is compressed");
    return undefined;
  }
  if (cluster !== undefined && (cluster < blockSize || cluster > MAX_CLUSTER_SIZE || cluster % blockSize !== 0))
    throw new PolicyError(
      "bad-compression",
      `clusters of ${cluster} bytes: not a multiple of ${blockSize} up to ${MAX_CLUSTER_SIZE}`,
      { expected: MAX_CLUSTER_SIZE, actual: cluster },
    );
  if (compress === "auto") return "auto";
  const [, name = "", given] = /^([a-z0-9]+)(?:,(\d{1,3}))?$/.exec(compress) ?? [];
  if (!isAlgorithm(name)) throw new PolicyError("bad-compression", `compression ${compress} is not known`);
  const level = given === undefined ? DEFAULT_LEVELS[name] : Number(given);
  if (level < 1 || level > MAX_LEVELS[name])
    throw new PolicyError("bad-compression", `${name} has levels 1 to ${MAX_LEVELS[name]}, not ${level}`);
  return { algorithm: name, level, clusterSize: cluster ?? (name === "zstd" ? LARGE_CLUSTER : blockSize) };
}

/** Whether contents stand in the root as they are, whatever its kernel. */
export function storesPlain(options: CompressionOptions, blockSize: number): boolean {
  const hints = parseHints(options.compressHints ?? []);
  const methods = [options, ...hints].map((one) => parseMethod(one, blockSize));
  return methods.every((method) => method === undefined);
}

/**
 * @param kernel is asked for where something is to be compressed; where nothing is known of it, what is asked for is taken
 *
 * Throws PolicyError `bad-compression`, `bad-hint`, `bad-pattern`, `bad-kernel-version`, and `kernel-lacks` for what the
 * kernel could not read.
 */
export async function chooseCompression(
  options: CompressionOptions,
  blockSize: number,
  kernel: () => Promise<TargetKernel | undefined>,
): Promise<RootCompression | undefined> {
  if (storesPlain(options, blockSize)) return undefined;
  const target = await kernel();
  const choose = (given: Pick<CompressionOptions, "compress" | "cluster">): RootMethod | undefined => {
    const wanted = parseMethod(given, blockSize);
    return wanted && chooseMethod(wanted, { ...options, ...given }, blockSize, target);
  };
  const method = choose({ compress: options.compress, cluster: options.cluster });
  const hints = parseHints(options.compressHints ?? []).map(({ glob, compress, cluster }) => ({
    glob,
    method: choose({ compress, cluster }),
  }));
  return method === undefined && hints.every((hint) => hint.method === undefined) ? undefined : { method, hints };
}

function chooseMethod(
  wanted: Method | "auto",
  options: CompressionOptions,
  blockSize: number,
  target: TargetKernel | undefined,
): RootMethod | undefined {
  const packed = (method: Method): RootMethod => {
    const bytes = { ...method, packing: "bytes" } as const;
    const isRead = target !== undefined && lackOf(target, needOf(bytes, blockSize)) === undefined;
    const packing = options.packing ?? (isRead ? "bytes" : "blocks");
    return { ...method, packing: method.algorithm === "zstd" ? packing : "blocks" };
  };
  if (wanted === "auto")
    return PREFERRED.map((one) => packed({ ...one, clusterSize: options.cluster ?? one.clusterSize })).find(
      (one) => lackOf(target ?? OLDEST_KERNEL, needOf(one, blockSize)) === undefined,
    );
  const chosen = packed(wanted);
  const lack = target && lackOf(target, needOf(chosen, blockSize));
  if (lack === undefined) return chosen;
  const what = `${showMethod(chosen)} in clusters of ${chosen.clusterSize} bytes`;
  throw new PolicyError("kernel-lacks", `the root's kernel cannot read ${what}: ${lack}`);
}

/** As the writer takes it, with what the host lends. */
export function writerCompression(
  chosen: RootCompression | undefined,
  { clusterEncoder }: Pick<Environment, "clusterEncoder">,
): Compression | undefined {
  if (chosen === undefined) return undefined;
  const { method, hints } = chosen;
  const encoder = clusterEncoder ?? inlineClusterEncoder();
  const methods = hints.flatMap((hint) => hint.method ?? []);
  const usual = method ?? methods[0]!; // there is a method where anything is compressed
  if (hints.length === 0) return { ...usual, encoder };
  const choose = (path: ByteString): RootMethod | "none" => {
    const hint = hints.find(({ glob }) => glob.matches(path));
    return (hint === undefined ? method : hint.method) ?? "none";
  };
  return { ...usual, encoder, hints: { methods, choose } };
}

/** What a release says; nothing where nothing is compressed. */
export function recordCompression(chosen: RootCompression | undefined): Release["options"] {
  if (chosen === undefined) return {};
  const { method, hints } = chosen;
  const isPacked = [{ method }, ...hints].some((one) => one.method?.packing === "bytes");
  return {
    compress: method === undefined ? "none" : showMethod(method),
    ...(method === undefined ? {} : { cluster: method.clusterSize }),
    ...(isPacked ? { packing: "bytes" } : {}),
    ...(hints.length === 0 ? {} : { compressHints: hints.map(showHint) }),
  };
}

function showHint({ glob, method }: RootHint): string {
  return method === undefined ? `${glob.text} none` : `${glob.text} ${showMethod(method)} ${method.clusterSize}`;
}
