/** An EROFS image: superblock, features, what is in it, and where the space goes. */

import {
  dumpSpace,
  dumpSuperblock,
  openErofs,
  readTree,
  type SpaceUse,
  type SuperblockDump,
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
  /** Bytes of the image by what they belong to; they add up to its size. */
  readonly space: readonly SpaceUse[];
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
  const { counts, names, contentBytes, space } = await dumpSpace(image, { signal: environment.signal });
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
    counts,
    names,
    contentBytes,
    space,
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
