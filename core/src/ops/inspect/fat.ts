/** A FAT volume: an ESP's files, and the UKIs among them. */

import { openFat } from "../../formats/fat/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { showPath, walkTree } from "../../tree/index.ts";
import { attempt, digester, type InspectEnvironment, type Problem } from "./parts.ts";
import { inspectPe, type PeReport } from "./uki.ts";

export interface FatFile {
  readonly path: string;
  readonly size: number;
  readonly digest: Digest | null;
}

export interface FatUki extends PeReport {
  readonly path: string;
}

export interface FatReport {
  readonly kind: "fat";
  /** Bytes of the volume. */
  readonly size: number;
  readonly label: string | null;
  /** `XXXX-XXXX`, as Linux shows it. */
  readonly volumeId: string;
  readonly sectorSize: number;
  readonly clusterSize: number;
  readonly usedBytes: number;
  readonly files: readonly FatFile[];
  /** UKIs and addons in `/EFI/Linux` and `/loader/addons`. */
  readonly ukis: readonly FatUki[];
  readonly problems: readonly Problem[];
}

/** Files that are listed and hashed. An ESP has tens. */
const MAX_FILES = 4096;
const MAX_UKIS = 64;

export async function inspectFat(source: Source, environment: InspectEnvironment): Promise<FatReport> {
  const { signal } = environment;
  const problems: Problem[] = [];
  const volume = await openFat(source, { signal });
  const budget = digester(volume.size, environment);
  const files: FatFile[] = [];
  const ukis: FatUki[] = [];
  for (const { path, node } of walkTree(volume.root)) {
    if (node.type !== "file") continue;
    if (files.length === MAX_FILES) {
      problems.push({ code: "too-many-files", message: `only the first ${MAX_FILES} files are listed` });
      break;
    }
    const shown = showPath(path);
    const digest = (await attempt(problems, () => budget.digest(node.content))) ?? null;
    files.push({ path: shown, size: node.content.size, digest });
    if (!/^\/EFI\/Linux\/[^/]+\.efi$/i.test(shown) || ukis.length === MAX_UKIS) continue;
    const found = await attempt(problems, () =>
      inspectPe(node.content, shown, environment, { deep: false, digester: budget }),
    );
    if (found !== undefined) ukis.push({ path: shown, ...found });
  }
  const id = volume.volumeId.toString(16).toUpperCase().padStart(8, "0");
  return {
    kind: "fat",
    size: volume.size,
    label: volume.label ?? null,
    volumeId: `${id.slice(0, 4)}-${id.slice(4)}`,
    sectorSize: volume.sectorSize,
    clusterSize: volume.clusterSize,
    usedBytes: volume.usedClusters * volume.clusterSize,
    files,
    ukis,
    problems,
  };
}
