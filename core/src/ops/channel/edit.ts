/** The changes of a channel: each takes documents and gives a draft, and does nothing else. */
import { PolicyError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { compareVersions } from "../release/index.ts";
import type { Draft } from "./draft.ts";
import { DEFAULT_LIFETIMES, ROLES, type Role, SPEC_VERSION } from "./format.ts";
import { canonicalBytes, encodeMetadata, keyIdOf } from "./metadata.ts";
import { formatTime, type RootSigned, type Target, type TargetsSigned, type TufKey } from "./schema.ts";
import { countSignatures, requirementsOf, type Unsealed, unsealed, vouched } from "./sign.ts";
import type { ChannelDocuments } from "./state.ts";
import { type ChannelRelease, channelId, lastRoot, releaseOf, targetPath } from "./view.ts";

export type Lifetimes = Readonly<Record<Role, number>>;

/** When a change is made, and how long its documents live. */
export interface EditTime {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Seconds. */
  readonly lifetimes?: Partial<Lifetimes> | undefined;
}

export function expiresAt(role: Role, { now, lifetimes }: EditTime): string {
  return formatTime(now + 1000 * (lifetimes?.[role] ?? DEFAULT_LIFETIMES[role]));
}

export interface RoleKeys {
  readonly keys: readonly TufKey[];
  readonly threshold: number;
}

interface NewChannel {
  readonly product: string;
  readonly name: string;
  readonly roles: Readonly<Record<Role, RoleKeys>>;
}

/** A channel without releases. */
export function newChannel({ product, name, roles }: NewChannel, time: EditTime, hashes: Hashes): Draft {
  const root: RootSigned = {
    _type: "root",
    spec_version: SPEC_VERSION,
    version: 1,
    expires: expiresAt("root", time),
    consistent_snapshot: true,
    ...keysAndRoles(roles, hashes),
    ashlar: { product, name, epoch: 0 },
  };
  const id = encodeMetadata("root", root, [], hashes).fingerprint; // also checks it
  const targets: TargetsSigned = {
    _type: "targets",
    spec_version: SPEC_VERSION,
    version: 1,
    expires: expiresAt("targets", time),
    targets: {},
    ashlar: { id },
  };
  return { base: undefined, root: { signed: root, signatures: [] }, targets: { signed: targets, signatures: [] } };
}

function keysAndRoles(roles: NewChannel["roles"], hashes: Hashes): Pick<RootSigned, "keys" | "roles"> {
  const keys: Record<string, TufKey> = {};
  const role = ({ keys: all, threshold }: RoleKeys) => {
    for (const key of all) keys[keyIdOf(key, hashes)] = key;
    return { keyids: [...new Set(all.map((key) => keyIdOf(key, hashes)))].sort(), threshold };
  };
  return {
    roles: {
      root: role(roles.root),
      timestamp: role(roles.timestamp),
      snapshot: role(roles.snapshot),
      targets: role(roles.targets),
    },
    keys,
  };
}

export const baseOf = (documents: ChannelDocuments): NonNullable<Draft["base"]> => ({
  root: unsealed(lastRoot(documents)),
  targets: vouched(documents.targets, lastRoot(documents).signed),
});

function nextTargets(
  documents: ChannelDocuments,
  change: Partial<Pick<TargetsSigned, "targets" | "ashlar">>,
  time: EditTime,
): Draft {
  const { signed } = documents.targets;
  const next = { ...signed, ...change, version: signed.version + 1, expires: expiresAt("targets", time) };
  return { base: baseOf(documents), root: undefined, targets: { signed: next, signatures: [] } };
}

/** What a channel says of a release beside what the release says of itself. */
export type ReleaseRules = Pick<ChannelRelease, "barrier" | "minAgent" | "rollout">;

function targetOf({
  manifest,
  barrier,
  minAgent,
  rollout,
  product,
  architecture,
  version,
  epoch,
  rootHash,
}: ChannelRelease): Target {
  return {
    length: manifest.size,
    hashes: { sha256: manifest.digest.slice("sha256:".length) },
    custom: {
      product,
      architecture,
      version,
      epoch,
      rootHash,
      mediaType: manifest.mediaType,
      ...(barrier ? { barrier } : {}),
      ...(minAgent === undefined ? {} : { minAgent }),
      ...(rollout === undefined ? {} : { rollout: [...rollout] }),
    },
  };
}

/**
 * Adds releases, or gives those that are there other rules. Errors: PolicyError `wrong-product`, `channel-floor`, and
 * `release-changed` where a version that is there has another digest: what a version is never changes.
 */
export function addReleases(
  documents: ChannelDocuments,
  releases: readonly Omit<ChannelRelease, "epoch">[],
  time: EditTime,
  floor: string | undefined = documents.targets.signed.ashlar.floor,
): Draft {
  const { product, epoch } = lastRoot(documents).signed.ashlar;
  const { signed } = documents.targets;
  const targets = { ...signed.targets };
  for (const release of releases) {
    const path = targetPath(release);
    if (release.product !== product)
      throw new PolicyError("wrong-product", `release ${path} is of another product than the channel, ${product}`, {
        expected: product,
        actual: release.product,
      });
    const known = targets[path];
    if (known !== undefined && releaseOf(known).manifest.digest !== release.manifest.digest)
      throw new PolicyError("release-changed", `version ${path} is in the channel already with another digest`, {
        expected: releaseOf(known).manifest.digest,
        actual: release.manifest.digest,
      });
    targets[path] = targetOf({ ...release, epoch });
  }
  if (floor !== undefined) assertAboveFloor(releases, floor);
  return nextTargets(
    documents,
    { targets, ashlar: { ...signed.ashlar, ...(floor === undefined ? {} : { floor }) } },
    time,
  );
}

function assertAboveFloor(releases: readonly Pick<ChannelRelease, "version">[], floor: string): void {
  for (const { version } of releases)
    if (compareVersions(version, floor) < 0)
      throw new PolicyError("channel-floor", `version ${version} is below the channel's floor ${floor}`, {
        expected: floor,
        actual: version,
      });
}

const withoutVersions = (targets: TargetsSigned["targets"], versions: readonly string[]): TargetsSigned["targets"] => {
  for (const version of versions)
    if (!Object.values(targets).some(({ custom }) => custom.version === version))
      throw new PolicyError("no-release", `the channel has no release ${version}`);
  return Object.fromEntries(Object.entries(targets).filter(([, { custom }]) => !versions.includes(custom.version)));
};

/** Takes versions out, of all architectures. Throws PolicyError `no-release` for one that is not there. */
export function removeReleases(documents: ChannelDocuments, versions: readonly string[], time: EditTime): Draft {
  return nextTargets(documents, { targets: withoutVersions(documents.targets.signed.targets, versions) }, time);
}

/** A change of keys. A key is named by its id. */
export interface Rotation {
  readonly add?: readonly { readonly role: Role; readonly key: TufKey }[] | undefined;
  readonly remove?: readonly { readonly role: Role; readonly keyId: string }[] | undefined;
  readonly thresholds?: Partial<Record<Role, number>> | undefined;
  /** All that was released so far counts as older than what stays in the channel. */
  readonly newEpoch?: boolean | undefined;
  /** Versions to take out in the same step. */
  readonly drop?: readonly string[] | undefined;
}

/**
 * The next root; without a change, the same one for another year. Targets come along where the keys that signed them no
 * longer suffice, or where they change. Errors: PolicyError `channel-key` for a key to remove that is not there.
 */
export function rotate(documents: ChannelDocuments, rotation: Rotation, time: EditTime, hashes: Hashes): Draft {
  const old = lastRoot(documents);
  const roles = rotatedRoles(old.signed, rotation, hashes);
  const epoch = old.signed.ashlar.epoch + (rotation.newEpoch === true ? 1 : 0);
  const signed: RootSigned = {
    ...old.signed,
    version: old.signed.version + 1,
    expires: expiresAt("root", time),
    ...keysAndRoles(roles, hashes),
    ashlar: { ...old.signed.ashlar, epoch, id: channelId(old) },
  };
  const root: Unsealed<"root"> = { signed, signatures: [] };
  const base = baseOf(documents);
  const stillSigned = countSignatures(base.targets, requirementsOf("targets", [signed])).every(
    ({ missing }) => missing === 0,
  );
  if (stillSigned && rotation.newEpoch !== true && (rotation.drop ?? []).length === 0)
    return { base, root, targets: undefined };
  const kept = withoutVersions(documents.targets.signed.targets, rotation.drop ?? []);
  const targets = Object.fromEntries(
    Object.entries(kept).map(([path, target]) => [path, { ...target, custom: { ...target.custom, epoch } }]),
  );
  const next = nextTargets(documents, { targets }, time).targets?.signed ?? base.targets.signed;
  return {
    base,
    root,
    targets: { signed: { ...next, version: followingVersion(base.targets, "targets", signed) }, signatures: [] },
  };
}

function rotatedRoles(root: RootSigned, rotation: Rotation, hashes: Hashes): NewChannel["roles"] {
  const rotated = (role: Role): RoleKeys => {
    const { keyids, threshold } = root.roles[role];
    const removed = (rotation.remove ?? []).filter((change) => change.role === role).map(({ keyId }) => keyId);
    for (const id of removed)
      if (!keyids.includes(id)) throw new PolicyError("channel-key", `${role} has no key ${id.slice(0, 100)}`);
    const kept = keyids.filter((id) => !removed.includes(id)).flatMap((id) => root.keys[id] ?? []);
    const added = (rotation.add ?? []).filter((change) => change.role === role).map(({ key }) => key);
    const keys = new Map([...kept, ...added].map((key) => [keyIdOf(key, hashes), key]));
    const wanted = rotation.thresholds?.[role] ?? threshold;
    if (wanted > keys.size)
      throw new PolicyError("channel-threshold", `${role}: threshold ${wanted} with ${keys.size} keys`, {
        expected: wanted,
        actual: keys.size,
      });
    return { keys: [...keys.values()], threshold: wanted };
  };
  const entries = ROLES.map((role) => [role, rotated(role)] as const);
  return Object.fromEntries(entries) as unknown as NewChannel["roles"]; // ROLES has them all
}

/**
 * The version after this document's. Where its keys have been taken out, clients forget the versions they signed, and the
 * count begins anew: a stolen key may have signed the highest number there is.
 */
export function followingVersion<R extends Role>(document: Unsealed<R>, role: R, root: RootSigned): number {
  const [count] = countSignatures(document, requirementsOf(role, [root]));
  return count?.missing === 0 ? document.signed.version + 1 : 1;
}

export const sameSigned = (a: Unsealed, b: Unsealed): boolean => {
  const [x, y] = [canonicalBytes(a.signed), canonicalBytes(b.signed)];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
};
