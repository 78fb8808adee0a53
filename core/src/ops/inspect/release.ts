/** A release: what release.json says, and whether its artifacts lie beside it. */
import { isAshlarError } from "../../errors/index.ts";
import type { Descriptor, FileTree } from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { StoredRelease } from "../publish/index.ts";
import type { Release } from "../release/release.ts";

export interface ArtifactReport {
  readonly role: string;
  readonly name: string;
  /** Bytes, as the release says. */
  readonly size: number;
  readonly digest: string;
  /** `present` says that a file of that size is there, or that a repository has what makes it; nothing is read (`ashlar verify` does). */
  readonly state: "present" | "missing" | "other-size";
}

/** Where a release in a repository is, and as what. */
export interface StoredReport {
  /** Such as `docker://registry.example/os`. */
  readonly store: string;
  /** Of its manifest. */
  readonly digest: Digest;
  /** Of the container image that it refers to. */
  readonly subject: Digest | null;
  readonly annotations: Readonly<Record<string, string>>;
  readonly layers: readonly Pick<Descriptor, "mediaType" | "digest" | "size" | "annotations">[];
  /** Runs of blocks in the recipe. */
  readonly runs: number;
}

export interface ReleaseReport {
  readonly kind: "release";
  readonly release: Omit<Release, "artifacts">;
  readonly artifacts: readonly ArtifactReport[];
  /** Null for a release beside its artifacts. */
  readonly stored: StoredReport | null;
}

export async function inspectRelease(release: Release, beside: FileTree): Promise<ReleaseReport> {
  const { artifacts, ...rest } = release;
  const reports: ArtifactReport[] = [];
  for (const artifact of artifacts) reports.push({ ...artifact, state: await stateOf(artifact, beside) });
  return { kind: "release", release: rest, artifacts: reports, stored: null };
}

/** Nothing of its artifacts is fetched: that they can be put together is checked when it is opened. */
export function inspectStoredRelease({ release, manifest, root }: StoredRelease): ReleaseReport {
  const { artifacts, ...rest } = release;
  const { config, recipe, tree, packs, sections, assembly, literals, descriptor, subject, annotations } = manifest;
  const layers = [config, recipe, tree, ...packs, ...sections.map(({ layer }) => layer), assembly, ...literals].filter(
    (one) => one !== undefined,
  );
  return {
    kind: "release",
    release: rest,
    artifacts: artifacts.map((artifact) => ({ ...artifact, state: "present" })),
    stored: {
      store: root.repository.name,
      digest: descriptor.digest,
      subject: subject?.digest ?? null,
      annotations,
      layers: layers.map(({ mediaType, digest, size, annotations: own }) => ({
        mediaType,
        digest,
        size,
        annotations: own,
      })),
      runs: root.recipe.runs.length,
    },
  };
}

async function stateOf(
  { name, size }: Release["artifacts"][number],
  beside: FileTree,
): Promise<ArtifactReport["state"]> {
  try {
    const file = await beside.open(name);
    await file.close();
    return file.size === size ? "present" : "other-size";
  } catch (error) {
    if (isAshlarError(error)) return "missing";
    throw error;
  }
}
