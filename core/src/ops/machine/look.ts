/** One look at what a machine follows: what is lent to it, what it may find, and what all ways of looking share. */
import { isAshlarError, PolicyError } from "../../errors/index.ts";
import type { Descriptor, Repository, Selector } from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { ClientState, RootPin, TufVerifier } from "../channel/index.ts";
import type { Reference } from "../image/index.ts";
import { type HostRepositories, resolveRelease, type StoredEnvironment, type StoredRelease } from "../publish/index.ts";
import { artifactOf } from "../release/release.ts";
import { type AcceptedSignature, admissionBy, type Trust, type TrustEnvironment } from "../trust/index.ts";
import { type ContentEnvironment, type ReleaseContent, storedContent } from "../update/index.ts";
import type { MachineFacts } from "./facts.ts";
import type { UpdatePolicy } from "./policy.ts";
import type { AgentRecord, KnownRelease } from "./record.ts";
import type { TrackedSource } from "./tracked-source.ts";

/** What is lent to the agent for speaking to repositories and for trusting what is there. */
export interface AgentEnvironment extends ContentEnvironment, StoredEnvironment {
  readonly repositories: HostRepositories;
  /** Loaded when a channel is looked at. */
  loadTufVerifier(): Promise<TufVerifier>;
  readonly trust: TrustEnvironment;
  /** What the policy names: all of them must accept. */
  loadTrusts(trust: UpdatePolicy["trust"]): Promise<readonly Trust[]>;
  /** The root of a channel, by its file or digest. */
  readRoot(root: string): Promise<RootPin>;
}

export interface Candidate {
  readonly known: KnownRelease;
  readonly content: ReleaseContent;
  /** The bytes of release.json. */
  readonly document: Uint8Array;
  /** The release that runs, where it can be had still. Its recipe may be wrong, which does no harm. */
  findRunning(): Promise<StoredRelease | undefined>;
  /** What runs should not go on running: it is below the floor or of an older epoch. */
  readonly required: boolean;
}

export type Finding =
  | { readonly result: "newer"; readonly candidate: Candidate }
  | {
      readonly result: "current" | "waiting" | "stale" | "refused";
      readonly message: string;
      readonly version?: string;
    };

export interface Found {
  readonly finding: Finding;
  /** What was seen of the channel: to be kept whatever comes next. */
  readonly channel: ClientState | undefined;
  /** Of a channel: until when it is fresh. */
  readonly expires: string | undefined;
}

export interface FindOptions {
  /** Also what failed before, and what somebody went back from. */
  readonly force?: boolean | undefined;
  /** Also lower versions and other products: somebody chose this source now. */
  readonly anyVersion?: boolean | undefined;
  /** Find out which release it is that runs, where that is not known. */
  readonly identify?: boolean | undefined;
  /** What is known of the release that runs. */
  readonly installed: KnownRelease | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export type OpenRelease = (descriptor: Descriptor) => Promise<StoredRelease>;

export interface Look {
  readonly source: TrackedSource;
  readonly reference: Reference;
  readonly repository: Repository;
  readonly facts: MachineFacts;
  readonly policy: UpdatePolicy;
  readonly record: AgentRecord;
  readonly environment: AgentEnvironment;
  readonly options: FindOptions;
  readonly open: OpenRelease;
}

/**
 * Whoever the policy names must accept the release. A channel vouches for what it lists, so it needs nobody else; a name in
 * a repository is only as good as a signature.
 */
export async function admit(
  look: Look,
  digests: readonly Digest[],
  isNeeded: boolean,
): Promise<readonly AcceptedSignature[]> {
  const { policy, environment, repository, reference, source } = look;
  const trusts = await environment.loadTrusts(policy.trust);
  if (trusts.length === 0 && isNeeded && policy.trust.unsigned !== "accept")
    throw new PolicyError(
      "no-trust",
      `${source.reference}: neither keys nor a policy say whose releases this machine accepts`,
    );
  const accepted: AcceptedSignature[] = [];
  for (const trust of trusts) {
    const admission = admissionBy(trust, environment.trust, (_, { signatures }) => accepted.push(...signatures));
    await admission({ reference, repository, digests });
  }
  return accepted;
}

/**
 * The release that runs, where the repository has it still: what the device lacks of it, such as the recipe of its root and blocks that
 * its slot does not give back, comes from there.
 */
export async function openRunning(
  { facts, repository, environment: { hashes, signal }, open }: Look,
  selector: Selector | undefined,
): Promise<StoredRelease | undefined> {
  if (selector === undefined) return undefined;
  try {
    const platform = { os: "linux", architecture: facts.architecture };
    const stored = await open(await resolveRelease(repository, selector, hashes, { platform, signal }));
    return stored.release.rootHash === facts.root?.rootHash ? stored : undefined;
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return undefined; // it was deleted, say: then there is more to fetch
  }
}

/** @param selector of the release that runs */
export function candidateOf(
  look: Look,
  stored: StoredRelease,
  known: KnownRelease,
  selector: Selector | undefined,
  required: boolean,
): Candidate {
  let running: Promise<StoredRelease | undefined> | undefined;
  const findRunning = () => {
    running ??= openRunning(look, selector);
    return running;
  };
  const content = storedContent(stored, look.environment);
  return { known, content, document: stored.bytes, required, findRunning };
}

export function describeRelease(
  { source, options }: Look,
  { name, release }: StoredRelease,
  { digest }: Descriptor,
  signatures: readonly AcceptedSignature[],
  more: Pick<KnownRelease, "epoch" | "channel">,
): KnownRelease {
  const uki = artifactOf(release, "uki");
  const { imageId, imageVersion, architecture, rootHash } = release;
  if (uki === undefined || imageId === undefined || imageVersion === undefined || architecture === undefined)
    throw new PolicyError("no-identity", `${name}: has no UKI, image id, version or architecture: it is no system`);
  return {
    rootHash,
    uki: uki.digest,
    imageId,
    imageVersion,
    architecture,
    manifest: digest,
    reference: source.reference,
    ...more,
    signatures: signatures.map(({ key, form, signedName }) => ({
      key: key.id,
      form,
      ...(signedName === undefined ? {} : { name: signedName }),
    })),
    verifiedAt: new Date(options.now).toISOString(),
  };
}
