/**
 * A change of a channel that waits for signatures: what keys kept offline sign, root and targets. It travels as a file
 * from signer to signer; snapshot and timestamp are made when it is published, by the key that is online.
 */
import * as v from "valibot";
import { PolicyError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { MAX_METADATA_SIZE } from "./format.ts";
import { checkValue, jsonBytes, parseMetadata, parsePlainJson } from "./metadata.ts";
import { EnvelopeSchema, type RootSigned } from "./schema.ts";
import {
  assertSigned,
  type ChannelSigner,
  countSignatures,
  type Requirement,
  requirementsOf,
  type SignatureCount,
  sealDocument,
  signDocument,
  type Unsealed,
  unsealed,
} from "./sign.ts";
import type { RootPin } from "./trust.ts";
import type { TufVerifier } from "./verify.ts";

const DRAFT_SCHEMA = "ashlar.channel-draft/v1";

/** The offline documents of a channel. */
interface OfflineDocuments {
  readonly root: Unsealed<"root">;
  readonly targets: Unsealed<"targets">;
}

export interface Draft {
  /** What the draft was made from; absent for a new channel. */
  readonly base: OfflineDocuments | undefined;
  /** The next root, where it changes. */
  readonly root: Unsealed<"root"> | undefined;
  /** The next targets, where they change. */
  readonly targets: Unsealed<"targets"> | undefined;
}

/** Bytes: two of each document, indented. */
export const MAX_DRAFT_SIZE = 4 * (MAX_METADATA_SIZE.root + MAX_METADATA_SIZE.targets);

const Documents = v.object({ root: v.optional(EnvelopeSchema), targets: v.optional(EnvelopeSchema) });
const DraftSchema = v.object({ schema: v.literal(DRAFT_SCHEMA), base: v.optional(Documents), ...Documents.entries });

export function encodeDraft(draft: Draft): Uint8Array {
  return jsonBytes({ schema: DRAFT_SCHEMA, ...draft });
}

/** @param what names the file in errors. Errors: FormatError `bad-metadata`, `too-large`. */
export function parseDraft(bytes: Uint8Array, hashes: Hashes, what: string): Draft {
  const raw = checkValue(DraftSchema, parsePlainJson(bytes, MAX_DRAFT_SIZE, what), what);
  const read = <R extends "root" | "targets">(role: R, value: unknown): Unsealed<R> | undefined =>
    value === undefined ? undefined : unsealed(parseMetadata(role, jsonBytes(value), hashes, `${what}: ${role}`));
  const root = read("root", raw.root);
  const targets = read("targets", raw.targets);
  const base = { root: read("root", raw.base?.root), targets: read("targets", raw.base?.targets) };
  if (base.root === undefined || base.targets === undefined) return { base: undefined, root, targets };
  return { base: { root: base.root, targets: base.targets }, root, targets };
}

/** The root that is in force once the draft is published. */
function rootOf(draft: Draft): RootSigned {
  const root = draft.root ?? draft.base?.root;
  if (root === undefined) throw new PolicyError("channel-draft", "the draft has neither a root nor a base");
  return root.signed;
}

/** A new root must be accepted by the old one's keys and by its own (TUF 5.3.4, 5.3.5). */
export function draftRequirements(draft: Draft): { readonly root: Requirement[]; readonly targets: Requirement[] } {
  const before = draft.base === undefined ? [] : [draft.base.root.signed];
  return {
    root: draft.root === undefined ? [] : requirementsOf("root", [...before, draft.root.signed]),
    targets: draft.targets === undefined ? [] : requirementsOf("targets", [rootOf(draft)]),
  };
}

/** Signs what the keys are asked for; other keys are left alone. */
export async function signDraft(draft: Draft, signers: readonly ChannelSigner[], hashes: Hashes): Promise<Draft> {
  const { root, targets } = draftRequirements(draft);
  return {
    base: draft.base,
    root: draft.root && (await signDocument(draft.root, root, signers, hashes)),
    targets: draft.targets && (await signDocument(draft.targets, targets, signers, hashes)),
  };
}

export function countDraft(draft: Draft): SignatureCount[] {
  const { root, targets } = draftRequirements(draft);
  return [
    ...(draft.root === undefined ? [] : countSignatures(draft.root, root)),
    ...(draft.targets === undefined ? [] : countSignatures(draft.targets, targets)),
  ];
}

/**
 * For who signs: that what the draft says it changes is the channel they know. A draft travels through many hands, and
 * one that pretends an attacker's key had always been there would show no change. Throws PolicyError `channel-root` where the
 * base is not the root that is trusted, `channel-signature` where its targets are not signed by that.
 */
export function authenticateBase({ base }: Draft, pin: RootPin, verifier: TufVerifier, hashes: Hashes): void {
  if (base === undefined)
    throw new PolicyError("channel-root", "the draft is of a new channel: there is no root to compare");
  const root = sealDocument("root", base.root, hashes);
  if (root.fingerprint !== pin.fingerprint)
    throw new PolicyError("channel-root", `the draft is made from root ${root.signed.version}, ${root.fingerprint}`, {
      expected: pin.fingerprint,
      actual: root.fingerprint,
    });
  verifier.verifySignatures(root, root);
  verifier.verifySignatures(root, sealDocument("targets", base.targets, hashes));
}

/** Throws PolicyError `channel-threshold`. */
export function assertDraftSigned(draft: Draft): void {
  const { root, targets } = draftRequirements(draft);
  if (draft.root !== undefined) assertSigned(draft.root, root);
  if (draft.targets !== undefined) assertSigned(draft.targets, targets);
}
