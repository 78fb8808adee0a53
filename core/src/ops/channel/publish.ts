/** From a signed draft to a channel's next state: snapshot and timestamp are made, all is verified as a device would, the tag moves. */

import { toHex } from "../../bytes/index.ts";
import { PolicyError, SourceError } from "../../errors/index.ts";
import type { Repository } from "../../formats/oci/index.ts";
import type { Digest, Hashes } from "../../hash/index.ts";
import { digestBytes, digestOf } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { assertDraftSigned, type Draft } from "./draft.ts";
import { type EditTime, expiresAt, followingVersion, sameSigned } from "./edit.ts";
import { SPEC_VERSION } from "./format.ts";
import type { Metadata } from "./metadata.ts";
import { assertSigned, type ChannelSigner, requirementsOf, sealDocument, signDocument, vouched } from "./sign.ts";
import { type ChannelDocuments, type ChannelState, writeChannel } from "./state.ts";
import { nextClientState } from "./trust.ts";
import { authenticate, expiry, type TufVerifier } from "./verify.ts";
import { type ChannelView, channelId, lastRoot } from "./view.ts";

export interface PublishEnvironment {
  readonly hashes: Hashes;
  readonly verifier: TufVerifier;
  readonly time: EditTime;
  /** The keys that are online. */
  readonly signers: readonly ChannelSigner[];
}

/** What a draft makes of a channel. `current` is undefined for a new one. */
async function completeDraft(
  draft: Draft,
  current: ChannelDocuments | undefined,
  { hashes, time, signers }: PublishEnvironment,
): Promise<ChannelDocuments> {
  assertDraftSigned(draft);
  const newRoot = draft.root === undefined ? [] : [sealDocument("root", draft.root, hashes)];
  const [first, ...rest] = [...(current?.roots ?? []), ...newRoot];
  const targets = draft.targets === undefined ? current?.targets : sealDocument("targets", draft.targets, hashes);
  if (first === undefined || targets === undefined)
    throw new PolicyError("channel-draft", "the draft of a new channel needs a root and targets");
  const root = (rest.at(-1) ?? first) as Metadata<"root">;
  const ashlar = { id: channelId(root) };
  const next = <R extends "snapshot" | "timestamp">(role: R) => ({
    spec_version: SPEC_VERSION,
    version:
      current === undefined
        ? 1
        : followingVersion(vouched(current[role] as Metadata<R>, lastRoot(current).signed), role, root.signed),
    expires: expiresAt(role, time),
    ashlar,
  });
  const signing = requirementsOf("snapshot", [root.signed]);
  const snapshotDraft = await signDocument<"snapshot">(
    {
      signed: { _type: "snapshot", ...next("snapshot"), meta: { "targets.json": metaOf(targets, hashes) } },
      signatures: [],
    },
    signing,
    signers,
    hashes,
  );
  assertSigned(snapshotDraft, signing);
  const snapshot = sealDocument("snapshot", snapshotDraft, hashes);
  const stamping = requirementsOf("timestamp", [root.signed]);
  const timestampDraft = await signDocument<"timestamp">(
    {
      signed: { _type: "timestamp", ...next("timestamp"), meta: { "snapshot.json": metaOf(snapshot, hashes) } },
      signatures: [],
    },
    stamping,
    signers,
    hashes,
  );
  assertSigned(timestampDraft, stamping);
  return { roots: [first, ...rest], targets, snapshot, timestamp: sealDocument("timestamp", timestampDraft, hashes) };
}

function metaOf({ bytes, signed }: Metadata, hashes: Hashes) {
  const sha256 = toHex(digestBytes(digestOf(hashes, bytes)));
  return { version: signed.version, length: bytes.length, hashes: { sha256 } };
}

/** Throws SourceError `channel-moved` unless root and targets are still those that the draft was made from. */
function assertBase(draft: Draft, current: ChannelDocuments | undefined, what: string): void {
  const same =
    draft.base === undefined
      ? current === undefined
      : current !== undefined &&
        sameSigned(draft.base.root, lastRoot(current)) &&
        sameSigned(draft.base.targets, current.targets);
  if (same) return;
  const found = current === undefined ? "there is no channel" : "there is another one";
  const expected = draft.base === undefined ? "no channel yet" : "the state that the draft was made from";
  throw new SourceError("channel-moved", `${what}: expected ${expected}, but ${found}`);
}

export interface Published {
  /** Of the manifest. */
  readonly digest: Digest;
  readonly view: ChannelView;
  readonly documents: ChannelDocuments;
}

/**
 * Publishes a draft; one without root and targets only renews snapshot and timestamp. What devices would refuse is never
 * stored: PolicyError `channel-threshold`, `channel-signature`, `channel-expired` and the others of `authenticate`.
 */
export async function publishDraft(
  repository: Repository,
  tag: string,
  draft: Draft,
  current: ChannelState | undefined,
  environment: PublishEnvironment,
  options: ReadOptions = {},
): Promise<Published> {
  const { hashes, verifier, time } = environment;
  assertBase(draft, current, `${repository.name}: ${tag}`);
  const documents = await completeDraft(draft, current, environment);
  const pins = [{ version: 1, fingerprint: documents.roots[0].fingerprint }];
  const state = current && nextClientState(current, undefined, undefined);
  const view = authenticate(documents, { pins, state }, verifier, hashes);
  const expired = expiry(documents, verifier, time.now);
  if (expired !== undefined)
    throw new PolicyError("channel-expired", `${expired.role} has expired at ${expired.since}: sign it anew first`);
  await assertReleases(repository, view, current, options);
  const digest = await writeChannel(repository, documents, tag, hashes, { ...options, replaces: current?.digest });
  return { digest, view, documents };
}

/** What the channel newly points to must be in its repository, or no device and no copy would find it. */
async function assertReleases(
  repository: Repository,
  view: ChannelView,
  current: ChannelDocuments | undefined,
  options: ReadOptions,
): Promise<void> {
  const known = new Set(
    Object.values(current?.targets.signed.targets ?? {}).map(({ hashes }) => `sha256:${hashes.sha256}`),
  );
  for (const { manifest, version, architecture } of view.releases)
    if (!known.has(manifest.digest) && !(await repository.has({ ...manifest, annotations: {} }, options)))
      throw new PolicyError(
        "release-elsewhere",
        `${repository.name}: release ${version} for ${architecture} (${manifest.digest}) is not in the channel's repository`,
      );
}
