/**
 * What `upgrade --download-only` has put onto the disk, as a release to be staged: everything of it is here, so nobody is asked. It
 * counts only while source and trust are those under which it was accepted, and while the word of its channel is fresh.
 */
import { encodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError, SourceError } from "../../errors/index.ts";
import { type Digest, digestOf } from "../../hash/index.ts";
import { sliceSource } from "../../source/index.ts";
import { parseRelease } from "../release/release.ts";
import type { Trust } from "../trust/index.ts";
import { fileContent } from "../update/index.ts";
import type { AgentEnvironment, Candidate } from "./look.ts";
import type { UpdatePolicy } from "./policy.ts";
import { isSameRelease, type PendingRelease } from "./record.ts";
import type { Run } from "./run.ts";
import type { TrackedSource } from "./tracked-source.ts";

/** release.json of what is held. */
export const HELD_FILE = "held.release.json";

/** Under which a release was accepted; with any other source, key or policy it has to be accepted anew. */
export async function conditionsOf(
  { kind, reference, root }: TrackedSource,
  policy: UpdatePolicy,
  { hashes, loadTrusts }: AgentEnvironment,
): Promise<Digest> {
  const trusts = (await loadTrusts(policy.trust)).map((trust: Trust) =>
    trust.kind === "keys" ? { ...trust, keys: trust.keys.map(({ id }) => id) } : { policy: trust.policy },
  );
  const { unsigned } = policy.trust;
  const text = JSON.stringify({ kind, reference, root, unsigned, trusts }, (_, value: unknown) =>
    value instanceof Map ? [...value] : value,
  );
  return digestOf(hashes, encodeUtf8(text));
}

/** Undefined where nothing is held, or where it has to be asked for whether it is still what the machine should run. */
export async function heldCandidate(
  run: Run,
  source: TrackedSource,
  policy: UpdatePolicy,
  environment: AgentEnvironment,
): Promise<Candidate | undefined> {
  const { pending, releases, refused } = run.record();
  if (pending?.state !== "downloaded" || run.pair.inactive.rootHash !== pending.rootHash) return undefined;
  const known = releases.findLast(({ manifest }) => manifest === pending.manifest);
  const isFresh = pending.until === undefined || run.now < Date.parse(pending.until);
  if (known === undefined || !isFresh || refused.some((other) => isSameRelease(other, known))) return undefined;
  if (pending.conditions !== (await conditionsOf(source, policy, environment))) return undefined;
  try {
    return await openHeld(run, pending, environment, known);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return undefined; // of a record that is damaged nothing is believed
  }
}

async function openHeld(
  { host, disk: { device }, pair: { inactive } }: Run,
  pending: PendingRelease,
  environment: AgentEnvironment,
  known: Candidate["known"],
): Promise<Candidate | undefined> {
  const document = await host.records.read(HELD_FILE);
  if (document === undefined) return undefined;
  const release = parseRelease(document, HELD_FILE);
  const uki = release.artifacts.find(({ role }) => role === "uki");
  if (release.rootHash !== pending.rootHash || uki?.digest !== pending.uki) return undefined;
  const parts = { root: inactive.root, "root-verity": inactive.verity } as const;
  const content = fileContent(
    {
      name: HELD_FILE,
      release,
      bytes: document,
      async open(name) {
        const artifact = release.artifacts.find((one) => one.name === name);
        const part = artifact?.role === "root" || artifact?.role === "root-verity" ? parts[artifact.role] : undefined;
        if (artifact === undefined || part === undefined || part.size < artifact.size)
          throw new SourceError("not-held", `${name}: is not on the disk any more`, { path: name });
        const source = sliceSource(device, part.start, artifact.size);
        return { size: source.size, read: (...range) => source.read(...range), close: async () => {} };
      },
    },
    environment,
  );
  return { known, content, document, required: false, findRunning: async () => undefined };
}
