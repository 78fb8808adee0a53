/** A root that is no image: a directory, or an archive of one. */
import type { Digest } from "../../hash/index.ts";
import type { Node, NodeType } from "../../tree/index.ts";
import { walkTree } from "../../tree/index.ts";
import { type InputEnvironment, type InputOptions, type Reference, readInput } from "../image/index.ts";
import { type PackageManager, readPackages } from "../packages/index.ts";
import { systemOf } from "./erofs.ts";
import { attempt, type Problem, type SystemName } from "./parts.ts";

export interface TreeReport {
  readonly kind: "tree";
  /** Where it is, such as `dir:/srv/root`. */
  readonly store: string;
  /** Of an archive, uncompressed; a directory has none. */
  readonly digest: Digest | null;
  /** OCI's name, by the programs in it. */
  readonly architecture: string | null;
  /** Inodes by type. */
  readonly counts: Partial<Record<NodeType, number>>;
  /** Names, hard links included. */
  readonly names: number;
  /** Bytes of all files. */
  readonly contentBytes: number;
  readonly system: SystemName | null;
  readonly packages: { readonly managers: readonly PackageManager[]; readonly count: number };
  readonly problems: readonly Problem[];
}

export async function inspectTree(
  reference: Reference,
  environment: InputEnvironment,
  options: InputOptions,
): Promise<TreeReport> {
  const input = await readInput(reference, environment, options);
  try {
    const problems: Problem[] = [];
    const counts: Partial<Record<NodeType, number>> = {};
    const seen = new Set<Node>();
    let names = 0;
    let contentBytes = 0;
    for (const { node } of walkTree(input.tree)) {
      names++;
      if (seen.has(node)) continue;
      seen.add(node);
      counts[node.type] = (counts[node.type] ?? 0) + 1;
      if (node.type === "file") contentBytes += node.content.size;
    }
    const packages = await readPackages(input.tree);
    return {
      kind: "tree",
      store: input.name,
      digest: input.digest ?? null,
      architecture: input.architecture ?? null,
      counts,
      names,
      contentBytes,
      system: (await attempt(problems, () => systemOf(input.tree))) ?? null,
      packages: { managers: packages.managers, count: packages.packages.size },
      problems: [...problems, ...packages.notes],
    };
  } finally {
    await input.dispose();
  }
}
