/** An EROFS image: superblock, features, what is in it, and where the space goes. */

import {
  dumpSuperblock,
  type ErofsImage,
  openErofs,
  readTree,
  type SuperblockDump,
  walkErofs,
} from "../../formats/erofs/index.ts";
import type { Digest } from "../../hash/index.ts";
import { readAll, type Source, sliceSource } from "../../source/index.ts";
import { type Directory, type NodeType, resolvePath } from "../../tree/index.ts";
import { type PackageManager, readPackages } from "../packages/index.ts";
import {
  attempt,
  digestWhole,
  type InspectEnvironment,
  MAX_TEXT,
  type Problem,
  type SystemName,
  systemName,
} from "./parts.ts";

/** Bytes of an image by what they hold; they add up to its size. */
export interface ErofsSpace {
  readonly fileData: number;
  /** Ends of files that stand beside their inodes. */
  readonly inlineTails: number;
  /** Unused ends of the last blocks of files. */
  readonly slack: number;
  readonly directories: number;
  readonly links: number;
  readonly inodes: number;
  /** Those beside the inodes. */
  readonly xattrs: number;
  /** Superblock, shared xattrs, chunk tables, and room between these. */
  readonly rest: number;
}

export interface ErofsReport {
  readonly kind: "erofs";
  /** Bytes of the image; what holds it may have more. */
  readonly size: number;
  readonly digest: Digest | null;
  readonly superblock: SuperblockDump;
  /** Inodes by type. */
  readonly counts: Partial<Record<NodeType, number>>;
  /** Names, hard links included. */
  readonly names: number;
  /** Bytes of all files. */
  readonly contentBytes: number;
  /** Null where files have chunks, which may share their blocks. */
  readonly space: ErofsSpace | null;
  readonly system: SystemName | null;
  readonly packages: { readonly managers: readonly PackageManager[]; readonly count: number };
  readonly problems: readonly Problem[];
}

export async function inspectErofs(
  source: Source,
  environment: InspectEnvironment,
  options: { readonly digest: boolean } = { digest: true },
): Promise<ErofsReport> {
  const problems: Problem[] = [];
  const image = await openErofs(source);
  const { superblock } = image;
  const size = superblock.blockSize * superblock.blockCount;
  const survey = await attempt(problems, () => surveyImage(image, size, environment.signal));
  const tree = await attempt(problems, () => readTree(image));
  const packages = tree === undefined ? undefined : await readPackages(tree);
  const digest = options.digest
    ? await digestWhole(sliceSource(source, 0, size), environment.hashes, environment.signal)
    : null;
  return {
    kind: "erofs",
    size,
    digest,
    superblock: dumpSuperblock(image),
    counts: survey?.counts ?? {},
    names: survey?.names ?? 0,
    contentBytes: survey?.contentBytes ?? 0,
    space: survey?.space ?? null,
    system: tree === undefined ? null : ((await attempt(problems, () => systemOf(tree))) ?? null),
    packages: { managers: packages?.managers ?? [], count: packages?.packages.size ?? 0 },
    problems: [...problems, ...(packages?.notes ?? [])],
  };
}

/** What the tree says that it is; null where it says nothing. */
export async function systemOf(tree: Directory): Promise<SystemName | null> {
  const node = (resolvePath(tree, "usr/lib/os-release") ?? resolvePath(tree, "etc/os-release"))?.node;
  return node?.type === "file" ? systemName(await readAll(node.content, MAX_TEXT, "os-release")) : null;
}

async function surveyImage(image: ErofsImage, size: number, signal: AbortSignal | undefined) {
  const { blockSize } = image.superblock;
  const counts: Partial<Record<NodeType, number>> = {};
  const space = { fileData: 0, inlineTails: 0, slack: 0, directories: 0, links: 0, inodes: 0, xattrs: 0 };
  let names = 0;
  let contentBytes = 0;
  let isFlat = true;
  for await (const { inode, isKnown } of walkErofs(image)) {
    signal?.throwIfAborted();
    names++;
    if (isKnown) continue;
    const { type, layout } = inode;
    counts[type] = (counts[type] ?? 0) + 1;
    space.inodes += inode.inodeSize;
    space.xattrs += inode.xattrSize;
    if (type === "file") contentBytes += inode.size;
    if (type !== "file" && type !== "directory" && type !== "symlink") continue;
    if (layout !== "flat-plain" && layout !== "flat-inline") {
      isFlat = false;
      continue;
    }
    const tail = layout === "flat-inline" ? tailSize(inode.size, blockSize) : 0;
    const whole = inode.size - tail;
    if (type === "directory") space.directories += inode.size;
    else if (type === "symlink") space.links += inode.size;
    else {
      space.fileData += whole;
      space.inlineTails += tail;
    }
    space.slack += Math.ceil(whole / blockSize) * blockSize - whole;
  }
  const rest = size - Object.values(space).reduce((sum, bytes) => sum + bytes, 0);
  // Data that several inodes share is counted more than once: then there is no account that adds up.
  return { counts, names, contentBytes, space: isFlat && rest >= 0 ? { ...space, rest } : null };
}

/** With inline data, the last block of an inode stands beside it, a full one too. */
function tailSize(size: number, blockSize: number): number {
  return size === 0 ? 0 : size % blockSize || blockSize;
}
