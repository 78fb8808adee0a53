/** Which release a machine should run, as its source says: a channel, or a name in a repository. Nothing is changed here. */
import { parseReference } from "../image/index.ts";
import { openStoredRelease, type StoredRelease } from "../publish/index.ts";
import type { MachineFacts } from "./facts.ts";
import { findByName } from "./find-by-name.ts";
import { findInChannel } from "./find-in-channel.ts";
import type { AgentEnvironment, FindOptions, Found, OpenRelease } from "./look.ts";
import type { UpdatePolicy } from "./policy.ts";
import type { AgentRecord } from "./record.ts";
import type { TrackedSource } from "./tracked-source.ts";

/**
 * Looks at the source, and runs `work` with what was found while the repository is open. Errors: those of repositories,
 * channels, signatures and releases; PolicyError `no-trust` where nobody says whose releases are accepted.
 */
export async function withFinding<T>(
  source: TrackedSource,
  facts: MachineFacts,
  policy: UpdatePolicy,
  record: AgentRecord,
  environment: AgentEnvironment,
  options: FindOptions,
  work: (found: Found) => Promise<T>,
): Promise<T> {
  const reference = parseReference(source.reference);
  const repository = await environment.repositories.open(reference);
  const opened: StoredRelease[] = [];
  const open: OpenRelease = async (descriptor) => {
    const stored = await openStoredRelease(repository, descriptor, environment);
    opened.push(stored);
    return stored;
  };
  try {
    const looked = { source, reference, repository, facts, policy, record, environment, options, open };
    return await work(await (source.kind === "channel" ? findInChannel(looked) : findByName(looked)));
  } finally {
    for (const stored of opened) await stored.close();
    await repository.close();
  }
}
