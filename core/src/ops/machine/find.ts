/** Which release a machine should run, as its source says: a channel, or a name in a repository. Nothing is changed here. */
import { IntegrityError, isAshlarError, PolicyError } from "../../errors/index.ts";
import {
  type Descriptor,
  OCI_MANIFEST,
  parseArtifactManifest,
  type Repository,
  readBlob,
  type Selector,
} from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import {
  CHANNEL_ARTIFACT_TYPE,
  type ChannelRelease,
  type ChannelView,
  type ClientState,
  type Decision,
  type DeviceFacts,
  decide,
  judgeChannel,
  openChannel,
  type RootPin,
  type TufVerifier,
} from "../channel/index.ts";
import { parseReference, type Reference } from "../image/index.ts";
import {
  type HostRepositories,
  openStoredRelease,
  releasesIn,
  resolveRelease,
  type StoredEnvironment,
  type StoredRelease,
} from "../publish/index.ts";
import { compareVersions } from "../release/index.ts";
import { artifactOf } from "../release/release.ts";
import { type AcceptedSignature, admissionBy, type Trust, type TrustEnvironment } from "../trust/index.ts";
import type { ContentEnvironment } from "../update/index.ts";
import type { MachineFacts } from "./facts.ts";
import type { UpdatePolicy } from "./policy.ts";
import { type AgentRecord, isSameRelease, type KnownRelease } from "./record.ts";

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

export interface Candidate {
  readonly stored: StoredRelease;
  readonly known: KnownRelease;
  /**
   * The recipe of the root that runs, where the repository has its release still: with it the digests of blocks that are here need
   * not be fetched. It may be wrong, which does no harm.
   */
  findRunningRecipe(): Promise<Uint8Array | undefined>;
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

type OpenRelease = (descriptor: Descriptor) => Promise<StoredRelease>;

interface Look {
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

async function findInChannel(look: Look): Promise<Found> {
  const { source, reference, repository, facts, record, environment, options, open } = look;
  const state = record.channels[source.reference];
  const pins = source.root === undefined ? [] : [await environment.readRoot(source.root)];
  const { hashes, signal } = environment;
  const verifier = await environment.loadTufVerifier();
  const checking = { hashes, verifier, clock: options.now, notBefore: facts.builtAt };
  const opened = await openChannel(repository, reference, { pins, state }, checking, { signal });
  const device = deviceFacts(opened.view, facts, record, options);
  const check = judgeChannel(opened, state, device, hashes);
  const seen = { channel: check.state, expires: opened.view.roles.timestamp.expires };
  if (check.result === "stale") {
    const message = `the channel is stale: its ${check.expired.role} has expired at ${check.expired.since}`;
    return { ...seen, finding: { result: "stale", message } };
  }
  const chosen = chooseRelease(opened.view, check.decision, device, look, opened.now);
  if (!("release" in chosen)) return { ...seen, finding: chosen };
  const { release, required } = chosen;
  const descriptor: Descriptor = { ...release.manifest, annotations: {} };
  const signatures = await admit(look, [descriptor.digest], false);
  const stored = await open(descriptor);
  assertPromised(stored, release);
  const known = describe(look, stored, descriptor, signatures, {
    epoch: release.epoch,
    channel: { name: `${opened.view.product} ${opened.view.name}`, id: opened.view.id },
  });
  const listed = opened.view.releases.find(({ rootHash }) => rootHash === facts.root?.rootHash);
  const selector = listed === undefined ? undefined : { digest: listed.manifest.digest };
  const findRunningRecipe = () => runningRecipe(look, selector);
  return { ...seen, finding: { result: "newer", candidate: { stored, known, required, findRunningRecipe } } };
}

async function runningRecipe(
  { facts, repository, environment: { hashes, signal }, open }: Look,
  selector: Selector | undefined,
): Promise<Uint8Array | undefined> {
  if (selector === undefined) return undefined;
  try {
    const platform = { os: "linux", architecture: facts.architecture };
    const { release, root } = await open(await resolveRelease(repository, selector, hashes, { platform, signal }));
    return release.rootHash === facts.root?.rootHash ? root.recipeBytes : undefined;
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return undefined; // it was deleted, say: then there is more to fetch
  }
}

function deviceFacts(
  view: ChannelView,
  facts: MachineFacts,
  { releases }: AgentRecord,
  { anyVersion = false }: FindOptions,
): DeviceFacts {
  const rootHash = facts.root?.rootHash;
  const listed = view.releases.find((release) => release.rootHash === rootHash);
  const installed = releases.find((release) => release.rootHash === rootHash);
  return {
    product: anyVersion ? view.product : (facts.imageId ?? ""),
    architecture: facts.architecture,
    // Of what nobody knows when it was installed, nothing is said to be older: an old epoch would allow any version.
    epoch: listed?.epoch ?? (anyVersion ? undefined : installed?.epoch) ?? view.epoch,
    version: anyVersion ? undefined : facts.imageVersion,
    agentVersion: facts.agentVersion,
    rolloutKey: facts.machineId,
  };
}

type Choice = { readonly release: ChannelRelease; readonly required: boolean } | Exclude<Finding, { result: "newer" }>;

/**
 * What failed on this machine, or was gone back from, is passed over, but for a barrier: nothing beyond one that failed is
 * installed, since what comes later relies on it.
 */
function chooseRelease(view: ChannelView, decision: Decision, device: DeviceFacts, look: Look, now: number): Choice {
  const { record, environment, options } = look;
  const { force = false } = options;
  if (decision.action === "wait") {
    const { release, parts } = decision;
    return {
      result: "waiting",
      version: release.version,
      message: `release ${release.version} is there, and its rollout (${parts / 100} %) has not come to this machine`,
    };
  }
  const rebuilt = decision.action === "none" ? rebuiltRelease(view, look, device) : undefined;
  if (rebuilt !== undefined)
    return chooseRelease(
      { ...view, releases: [rebuilt] },
      decideFresh(view, rebuilt, device, look, now),
      device,
      look,
      now,
    );
  if (decision.action === "none")
    return {
      result: "current",
      message:
        decision.reason === "newest"
          ? "what runs is the newest of the channel"
          : "what runs is newer than all that the channel has",
    };
  const refusedOf = (release: ChannelRelease) =>
    force
      ? undefined
      : record.refused.find((refused) =>
          isSameRelease(refused, { rootHash: release.rootHash, manifest: release.manifest.digest }),
        );
  const refused = refusedOf(decision.release);
  if (refused === undefined) return decision;
  const barrier = view.releases.find((release) => release.barrier && refusedOf(release) !== undefined);
  const releases = view.releases.filter(
    (release) =>
      refusedOf(release) === undefined &&
      (barrier === undefined ||
        release.epoch !== barrier.epoch ||
        compareVersions(release.version, barrier.version) < 0),
  );
  const isOurs = ({ epoch, architecture, version }: ChannelRelease) =>
    epoch === view.epoch &&
    architecture === device.architecture &&
    (view.floor === undefined || compareVersions(version, view.floor) >= 0);
  const again = releases.some(isOurs)
    ? decide({ ...view, releases }, device, { hashes: environment.hashes, now })
    : undefined;
  if (again?.action === "install") return again;
  return {
    result: "refused",
    version: decision.release.version,
    message: `release ${decision.release.version} is not tried again: ${refused.message}`,
  };
}

/**
 * The release that runs, built again with another UKI: the root and so the version are the same, and the channel has another
 * manifest for it. Of what was on the disk when it was installed nobody knows the manifest: looking at the UKI tells.
 */
function rebuiltRelease(
  { releases, epoch }: ChannelView,
  { facts, options: { installed, identify = false } }: Look,
  { architecture, version }: DeviceFacts,
): ChannelRelease | undefined {
  const rootHash = facts.root?.rootHash;
  if (version === undefined || (installed === undefined && !identify)) return undefined;
  return releases.find(
    (release) =>
      release.epoch === epoch &&
      release.architecture === architecture &&
      release.version === version &&
      release.rootHash === rootHash &&
      release.manifest.digest !== installed?.manifest,
  );
}

/** Whether the floor and its rollout let a release of the running version in. */
function decideFresh(
  view: ChannelView,
  release: ChannelRelease,
  device: DeviceFacts,
  { environment }: Look,
  now: number,
) {
  const only = { ...view, releases: [release] };
  return decide(only, { ...device, version: undefined }, { hashes: environment.hashes, now });
}

/** The channel's word and the release's own must be one. */
function assertPromised({ name, release }: StoredRelease, promised: ChannelRelease): void {
  for (const [field, expected, actual] of [
    ["root hash", promised.rootHash, release.rootHash],
    ["image id", promised.product, release.imageId],
    ["version", promised.version, release.imageVersion],
    ["architecture", promised.architecture, release.architecture],
  ] as const)
    if (expected !== actual)
      throw new IntegrityError("channel-release", `${name}: ${field} is ${actual}, the channel says ${expected}`, {
        expected,
        actual,
      });
}

async function findByName(look: Look): Promise<Found> {
  const { facts, record, open, options } = look;
  const { force = false, anyVersion = false } = options;
  const { descriptor, digests } = await resolveOnce(look);
  const signatures = await admit(look, digests, true);
  const stored = await open(descriptor);
  const none = { channel: undefined, expires: undefined };
  const selector = facts.imageVersion === undefined ? undefined : { tag: facts.imageVersion }; // as `ashlar push` names it
  const findRunningRecipe = () => runningRecipe(look, selector);
  const known = describe(look, stored, descriptor, signatures, {});
  const { imageId, imageVersion, architecture, rootHash } = known;
  if (architecture !== facts.architecture)
    throw new PolicyError(
      "wrong-architecture",
      `${stored.name}: is for ${architecture}, this machine is ${facts.architecture}`,
      {
        expected: facts.architecture,
        actual: architecture,
      },
    );
  if (!anyVersion && imageId !== facts.imageId)
    throw new PolicyError("wrong-product", `${stored.name}: is ${imageId}, this machine runs ${facts.imageId}`, {
      expected: facts.imageId,
      actual: imageId,
    });
  const refused = force ? undefined : record.refused.find((other) => isSameRelease(other, known));
  if (refused !== undefined && !anyVersion)
    return {
      ...none,
      finding: {
        result: "refused",
        version: imageVersion,
        message: `release ${imageVersion} is not tried again: ${refused.message}`,
      },
    };
  const isSameRoot = rootHash === facts.root?.rootHash;
  if (
    !anyVersion &&
    !isSameRoot &&
    facts.imageVersion !== undefined &&
    compareVersions(imageVersion, facts.imageVersion) < 0
  )
    return {
      ...none,
      finding: {
        result: "refused",
        version: imageVersion,
        message: `release ${imageVersion} is older than what runs, ${facts.imageVersion}; switch goes back on purpose`,
      },
    };
  return { ...none, finding: { result: "newer", candidate: { stored, known, required: false, findRunningRecipe } } };
}

/**
 * What the name means now; it may mean something else a moment later. The signature of an index counts for the release that was
 * chosen from it; that of a container image says nothing of the release that was made from it.
 */
async function resolveOnce({ reference, repository, facts, environment: { hashes, signal } }: Look) {
  const platform = { os: "linux", architecture: facts.architecture };
  const start = await repository.resolve(reference, { signal });
  const descriptor = await resolveRelease(repository, { digest: start.digest }, hashes, { platform, signal });
  const isCovered = await releasesIn(repository, start, hashes, { signal }).then(
    () => true,
    (error: unknown) => {
      if (!isAshlarError(error) || error.code !== "not-a-release") throw error;
      return false;
    },
  );
  return { descriptor, digests: [...new Set([...(isCovered ? [start.digest] : []), descriptor.digest])] };
}

/**
 * Whoever the policy names must accept the release. A channel vouches for what it lists, so it needs nobody else; a name in
 * a repository is only as good as a signature.
 */
async function admit(look: Look, digests: readonly Digest[], isNeeded: boolean): Promise<readonly AcceptedSignature[]> {
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

function describe(
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
