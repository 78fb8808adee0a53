/** Which release of a channel a machine should run. */
import { IntegrityError } from "../../errors/index.ts";
import type { Descriptor } from "../../formats/oci/index.ts";
import {
  type ChannelRelease,
  type ChannelView,
  type Decision,
  type DeviceFacts,
  decide,
  judgeChannel,
  openChannel,
} from "../channel/index.ts";
import type { StoredRelease } from "../publish/index.ts";
import { compareVersions } from "../release/index.ts";
import type { MachineFacts } from "./facts.ts";
import { admit, candidateOf, describeRelease, type Finding, type FindOptions, type Found, type Look } from "./look.ts";
import { type AgentRecord, isSameRelease } from "./record.ts";

/** Errors: those of channels; IntegrityError `channel-release` where the channel and the release disagree. */
export async function findInChannel(look: Look): Promise<Found> {
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
  const known = describeRelease(look, stored, descriptor, signatures, {
    epoch: release.epoch,
    channel: { name: `${opened.view.product} ${opened.view.name}`, id: opened.view.id },
  });
  const listed = opened.view.releases.find(({ rootHash }) => rootHash === facts.root?.rootHash);
  const selector = listed === undefined ? undefined : { digest: listed.manifest.digest };
  return { ...seen, finding: { result: "newer", candidate: candidateOf(look, stored, known, selector, required) } };
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
