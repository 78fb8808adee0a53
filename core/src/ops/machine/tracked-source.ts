/** What a machine follows. */
import { OCI_MANIFEST, parseArtifactManifest, readBlob } from "../../formats/oci/index.ts";
import { CHANNEL_ARTIFACT_TYPE } from "../channel/index.ts";
import { parseReference } from "../image/index.ts";
import type { AgentEnvironment } from "./look.ts";
import type { UpdatePolicy } from "./policy.ts";
import type { AgentRecord } from "./record.ts";

export interface TrackedSource {
  readonly kind: "channel" | "reference";
  readonly reference: string;
  /** File or digest of the channel's root. */
  readonly root: string | undefined;
  readonly from: "image" | "local" | "switch";
}

/** What was chosen by `switch`, unless the image forbids it; else what the policy says. */
export function trackedSource(policy: UpdatePolicy, record: AgentRecord): TrackedSource | undefined {
  if (record.source !== undefined && !policy.fixedSource)
    return { ...record.source, root: record.source.root, from: "switch" };
  return policy.source;
}

/** What a name in a repository leads to. A channel moves, so it is a tag. Errors: those of repositories. */
export async function sourceKindOf(
  text: string,
  { repositories, hashes, signal }: Pick<AgentEnvironment, "repositories" | "hashes" | "signal">,
): Promise<TrackedSource["kind"]> {
  const reference = parseReference(text);
  const repository = await repositories.open(reference);
  try {
    const descriptor = await repository.resolve(reference, { signal });
    if (descriptor.mediaType !== OCI_MANIFEST) return "reference";
    const bytes = await readBlob(repository, descriptor, hashes, repository.name, { signal });
    const { artifactType } = parseArtifactManifest(bytes, repository.name);
    return artifactType === CHANNEL_ARTIFACT_TYPE ? "channel" : "reference";
  } finally {
    await repository.close();
  }
}
