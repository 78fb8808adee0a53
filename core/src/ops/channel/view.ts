/** What a channel says, once its documents are trusted: releases, roles, who may sign what and until when. */
import { oneLine } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import { type Digest, type Hashes, parseDigest } from "../../hash/index.ts";
import { ROLES, type Role } from "./format.ts";
import { keyMaterial } from "./keys.ts";
import { keyIdOf, type Metadata } from "./metadata.ts";
import type { RolloutStep, RootSigned, Target } from "./schema.ts";
import type { ChannelDocuments } from "./state.ts";

/** A release that a channel points to. */
export interface ChannelRelease {
  readonly product: string;
  /** OCI's name, such as `amd64`. */
  readonly architecture: string;
  /** IMAGE_VERSION. */
  readonly version: string;
  readonly epoch: number;
  /** Lower-case hexadecimal. */
  readonly rootHash: string;
  /** The release's manifest, in the repository that the channel is in. */
  readonly manifest: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  /** A device below this version installs it before any later one. */
  readonly barrier: boolean;
  /** The lowest version of the agent that may install it. */
  readonly minAgent: string | undefined;
  /** Which share of devices may install it, and from when on; absent: all. */
  readonly rollout: readonly RolloutStep[] | undefined;
}

export interface RoleView {
  readonly version: number;
  /** As TUF writes it: `2026-01-01T00:00:00Z`. */
  readonly expires: string;
  readonly threshold: number;
  readonly keyIds: readonly string[];
}

export interface ChannelView {
  readonly product: string;
  readonly name: string;
  /** {@link channelId} */
  readonly id: Digest;
  readonly epoch: number;
  /** No version below it may be installed or gone back to. */
  readonly floor: string | undefined;
  readonly roles: Readonly<Record<Role, RoleView>>;
  readonly releases: readonly ChannelRelease[];
}

/**
 * What every document of a channel carries: the fingerprint of its first root. Two channels of one product may share
 * their keys; this keeps a document of one from passing for the other's.
 */
export function channelId(root: Metadata<"root">): Digest {
  if (root.signed.version === 1) return root.fingerprint;
  const { id } = root.signed.ashlar;
  if (id === undefined)
    throw new PolicyError("channel-identity", `root ${root.signed.version} does not say its channel`);
  return parseDigest(id);
}

export const targetPath = (release: { product: string; architecture: string; version: string }): string =>
  `${release.product}/${release.architecture}/${release.version}`;

export function releaseOf({ length, hashes, custom }: Target): ChannelRelease {
  return {
    product: custom.product,
    architecture: custom.architecture,
    version: custom.version,
    epoch: custom.epoch,
    rootHash: custom.rootHash,
    manifest: { mediaType: custom.mediaType, digest: `sha256:${hashes.sha256}`, size: length },
    barrier: custom.barrier ?? false,
    minAgent: custom.minAgent,
    rollout: custom.rollout,
  };
}

export const lastRoot = ({ roots }: ChannelDocuments): Metadata<"root"> => roots.at(-1) ?? roots[0];

/** Reads documents whose signatures are another's concern. Errors: those of {@link assertConsistent}. */
export function viewChannel(documents: ChannelDocuments, hashes: Hashes): ChannelView {
  assertConsistent(documents, hashes);
  const root = lastRoot(documents);
  const { product, name, epoch } = root.signed.ashlar;
  const current = { root, timestamp: documents.timestamp, snapshot: documents.snapshot, targets: documents.targets };
  const role = (name: Role): RoleView => {
    const { threshold, keyids } = root.signed.roles[name];
    return { version: current[name].signed.version, expires: current[name].signed.expires, threshold, keyIds: keyids };
  };
  return {
    product,
    name,
    id: channelId(root),
    epoch,
    floor: documents.targets.signed.ashlar.floor,
    roles: { root: role("root"), timestamp: role("timestamp"), snapshot: role("snapshot"), targets: role("targets") },
    releases: Object.values(documents.targets.signed.targets).map(releaseOf),
  };
}

/**
 * What signatures alone do not say. Throws PolicyError `channel-identity` where documents are of different channels or
 * products, `channel-key` where a key could be counted twice, `channel-epoch`, `channel-target`.
 */
function assertConsistent(documents: ChannelDocuments, hashes: Hashes): void {
  const newest = lastRoot(documents);
  const id = channelId(newest);
  let epoch = 0;
  for (const root of documents.roots) {
    const what = `root ${root.signed.version}`;
    if (channelId(root) !== id || root.signed.ashlar.product !== newest.signed.ashlar.product)
      throw new PolicyError("channel-identity", `${what} is of another channel or product`);
    if (root.signed.ashlar.epoch < epoch)
      throw new PolicyError("channel-epoch", `${what} has epoch ${root.signed.ashlar.epoch}, an earlier one ${epoch}`);
    epoch = root.signed.ashlar.epoch;
    assertKeys(root.signed, what, hashes);
  }
  for (const role of ["timestamp", "snapshot", "targets"] as const)
    if (documents[role].signed.ashlar.id !== id)
      throw new PolicyError("channel-identity", `${role} is of another channel`, {
        expected: id,
        actual: documents[role].signed.ashlar.id,
      });
  for (const [path, { custom }] of Object.entries(documents.targets.signed.targets)) {
    if (path !== targetPath(custom) || custom.product !== newest.signed.ashlar.product)
      throw new PolicyError("channel-target", `target ${oneLine(path)} says that it is ${targetPath(custom)}`);
    // The epoch is the root keys' to raise: whoever has the targets keys must not make a release newer than all to come.
    if (custom.epoch > epoch)
      throw new PolicyError(
        "channel-epoch",
        `target ${oneLine(path)} has epoch ${custom.epoch}, the root only ${epoch}`,
      );
  }
}

function assertKeys({ keys, roles }: RootSigned, what: string, hashes: Hashes): void {
  const publicKeys = new Set<string>();
  for (const [id, key] of Object.entries(keys)) {
    if (keyIdOf(key, hashes) !== id)
      throw new PolicyError("channel-key", `${what}: key ${id} is not the key of that id`);
    publicKeys.add(keyMaterial(key, hashes, `${what}: key ${id}`));
  }
  if (publicKeys.size !== Object.keys(keys).length)
    throw new PolicyError("channel-key", `${what} has one public key under two ids`);
  for (const role of ROLES)
    for (const id of roles[role].keyids)
      if (!Object.hasOwn(keys, id)) throw new PolicyError("channel-key", `${what}: key ${id} of ${role} is not there`);
}
