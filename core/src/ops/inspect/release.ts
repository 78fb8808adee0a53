/** A release: what release.json says, and whether its artifacts lie beside it. */
import { isAshlarError } from "../../errors/index.ts";
import type { FileTree } from "../../formats/oci/index.ts";
import type { Release } from "../release/release.ts";

export interface ArtifactReport {
  readonly role: string;
  readonly name: string;
  /** Bytes, as the release says. */
  readonly size: number;
  readonly digest: string;
  /** `present` says that a file of that size is there; its bytes are not read (`ashlar verify` does). */
  readonly state: "present" | "missing" | "other-size";
}

export interface ReleaseReport {
  readonly kind: "release";
  readonly release: Omit<Release, "artifacts">;
  readonly artifacts: readonly ArtifactReport[];
}

export async function inspectRelease(release: Release, beside: FileTree): Promise<ReleaseReport> {
  const { artifacts, ...rest } = release;
  const reports: ArtifactReport[] = [];
  for (const artifact of artifacts) reports.push({ ...artifact, state: await stateOf(artifact, beside) });
  return { kind: "release", release: rest, artifacts: reports };
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
