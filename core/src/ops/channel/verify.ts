/** Trust in a channel's documents: signatures and expiry by the host's TUF, the rest by ours. */
import { PolicyError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { ROLES, type Role } from "./format.ts";
import type { Metadata } from "./metadata.ts";
import type { ChannelDocuments } from "./state.ts";
import { assertNotOlder, type ClientState, type RootPin, trustedRootIndex } from "./trust.ts";
import { type ChannelView, lastRoot, viewChannel } from "./view.ts";

/**
 * TUF's client workflow (5.3 to 5.6) over documents at hand, as the host's library does it: the first root is trusted as
 * it is, every other document because of those before it.
 */
export interface TufVerifier {
  /**
   * @param now milliseconds since 1970; documents that expire at or before it are refused
   * Throws PolicyError `channel-signature`, `channel-rollback`, `channel-expired`, IntegrityError `channel-mix`.
   */
  verify(documents: ChannelDocuments, now: number): void;
  /** Whether enough valid signatures are on one document for what this root asks. Throws PolicyError `channel-signature`. */
  verifySignatures(root: Metadata<"root">, document: Metadata): void;
}

export interface ChannelTrust {
  /** At least one, unless there is a state. */
  readonly pins: readonly RootPin[];
  readonly state?: ClientState | undefined;
}

/** Nothing has expired then. */
const BEGINNING = 0;

/**
 * Authenticates the documents whatever the time: who signed them, that they belong together, that none is older than one
 * seen before. Whether they are fresh is {@link expiry}'s question: an attack must not hide behind an old date.
 */
export function authenticate(
  documents: ChannelDocuments,
  { pins, state }: ChannelTrust,
  verifier: TufVerifier,
  hashes: Hashes,
): ChannelView {
  const known = state === undefined ? pins : [...pins, pinOf(state)];
  const start = trustedRootIndex(documents, known);
  const chain = documents.roots.slice(start) as unknown as ChannelDocuments["roots"]; // start is an index of roots
  verifier.verify({ ...documents, roots: chain }, BEGINNING);
  if (state !== undefined) assertNotOlder(documents, state);
  return viewChannel(documents, hashes);
}

export function pinOf({ root }: ClientState): RootPin {
  return { version: root.version, fingerprint: root.fingerprint as RootPin["fingerprint"] }; // the schema says so
}

export interface Expiry {
  readonly role: Role;
  /** As TUF writes it. */
  readonly since: string;
}

/** What expired first, or undefined where all is fresh. Only for documents that {@link authenticate} has passed. */
export function expiry(documents: ChannelDocuments, verifier: TufVerifier, now: number): Expiry | undefined {
  const newest = lastRoot(documents);
  try {
    verifier.verify({ ...documents, roots: [newest] }, now);
    return undefined;
  } catch (error) {
    if (!(error instanceof PolicyError) || error.code !== "channel-expired") throw error;
  }
  const current = { ...documents, root: newest };
  const [first] = ROLES.map((role): Expiry => ({ role, since: current[role].signed.expires })).sort((a, b) =>
    a.since < b.since ? -1 : 1,
  );
  return first as Expiry; // there are four roles
}
