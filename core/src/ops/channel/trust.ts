/** What a client keeps between two looks at a channel, and what it therefore refuses. */
import * as v from "valibot";
import { encodeUtf8 } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Digest } from "../../hash/index.ts";
import { checkValue, type Metadata, parsePlainJson } from "./metadata.ts";
import { DigestText, formatTime, KeyId, Time } from "./schema.ts";
import type { ChannelDocuments } from "./state.ts";
import { channelId, lastRoot } from "./view.ts";

export const CLIENT_STATE_SCHEMA = "ashlar.channel-state/v1";
/** Bytes. */
export const MAX_CLIENT_STATE_SIZE = 64 * 1024;

const Version = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

const SeenDocument = v.object({
  version: Version,
  fingerprint: DigestText,
  /** Ids of the keys that had signed it; empty for root. */
  signers: v.array(KeyId),
});

const ClientStateSchema = v.object({
  schema: v.literal(CLIENT_STATE_SCHEMA),
  /** Of the channel. */
  id: DigestText,
  root: SeenDocument,
  timestamp: SeenDocument,
  snapshot: SeenDocument,
  targets: SeenDocument,
  /** When the channel was last seen fresh: no clock is believed below it. */
  seen: v.optional(Time),
});

/** A plain value: store it as it is, in a place that survives updates and rollbacks. */
export type ClientState = v.InferOutput<typeof ClientStateSchema>;

/** A root that is trusted beforehand: by the image, by a file, by a person who compared it. */
export interface RootPin {
  readonly fingerprint: Digest;
  readonly version?: number | undefined;
}

export function encodeClientState(state: ClientState): Uint8Array {
  return encodeUtf8(`${JSON.stringify(state, null, 2)}\n`);
}

/** @param what names the file in errors. Errors: FormatError `bad-metadata`, `too-large`. */
export function parseClientState(bytes: Uint8Array, what: string): ClientState {
  return checkValue(ClientStateSchema, parsePlainJson(bytes, MAX_CLIENT_STATE_SIZE, what), what);
}

/** Milliseconds since 1970: the clock, but never below what is known to have passed. */
export function effectiveTime(clock: number, notBefore: number, state: ClientState | undefined): number {
  return Math.max(clock, notBefore, state?.seen === undefined ? 0 : Date.parse(state.seen));
}

/**
 * Index of the root from which the chain must be verified: the newest that is pinned. Every pin must be in the chain.
 * Throws PolicyError `no-trusted-root`, `channel-rollback` where the chain ends before a pin, `channel-root` where it has
 * another root in its place.
 */
export function trustedRootIndex({ roots }: ChannelDocuments, pins: readonly RootPin[]): number {
  if (pins.length === 0) throw new PolicyError("no-trusted-root", "no root of the channel is trusted beforehand");
  const last = roots.length - 1;
  let newest = 0;
  for (const { fingerprint, version } of pins) {
    const index = roots.findIndex((root) => root.fingerprint === fingerprint);
    const newestVersion = roots[last]?.signed.version ?? 0;
    if (index < 0 && version !== undefined && version > newestVersion)
      throw new PolicyError(
        "channel-rollback",
        `root ${newestVersion} is offered, root ${version} is trusted already`,
        {
          expected: version,
          actual: newestVersion,
        },
      );
    if (index < 0)
      throw new PolicyError("channel-root", `the chain of roots does not hold the trusted root ${fingerprint}`, {
        expected: fingerprint,
      });
    newest = Math.max(newest, index);
  }
  return newest;
}

const FOLLOWERS = ["timestamp", "snapshot", "targets"] as const;
type Follower = (typeof FOLLOWERS)[number];

/**
 * Throws PolicyError `channel-identity`, `channel-rollback` where an older document than one seen before is offered, and
 * `channel-equivocation` where another one of the same version is. Call it when all signatures have been verified.
 *
 * A version that keys since taken out of the root had signed does not count: whoever had stolen them may have signed a
 * version so high that no honest one comes after it (fast-forward), and rotating the keys must end that (TUF 5.3.11).
 */
export function assertNotOlder(documents: ChannelDocuments, state: ClientState): void {
  const root = lastRoot(documents);
  if (channelId(root) !== state.id)
    throw new PolicyError("channel-identity", "this is another channel than the one that was followed", {
      expected: state.id,
      actual: channelId(root),
    });
  // At every root since: a key that was taken out and came back has lost its past with the first step.
  const since = documents.roots.filter(({ signed }) => signed.version >= state.root.version);
  const stillVouched = (role: Follower): boolean =>
    since.every(({ signed }) => {
      const { keyids, threshold } = signed.roles[role];
      return state[role].signers.filter((id) => keyids.includes(id)).length >= threshold;
    });
  const times = stillVouched("timestamp") && stillVouched("snapshot");
  const counts: Readonly<Record<Follower, boolean>> = {
    timestamp: times,
    snapshot: times,
    targets: times && stillVouched("targets"),
  };
  for (const role of FOLLOWERS) {
    const offered = documents[role];
    const { version, fingerprint } = state[role];
    if (!counts[role]) continue;
    if (offered.signed.version < version)
      throw new PolicyError(
        "channel-rollback",
        `${role} ${offered.signed.version} is offered, ${role} ${version} was seen before`,
        { expected: version, actual: offered.signed.version },
      );
    if (offered.signed.version === version && offered.fingerprint !== fingerprint)
      throw new PolicyError("channel-equivocation", `there are two different ${role} documents of version ${version}`);
  }
}

/** What to keep after verified documents. `seen`: milliseconds since 1970, only where they were fresh then. */
export function nextClientState(
  documents: ChannelDocuments,
  previous: ClientState | undefined,
  seen: number | undefined,
): ClientState {
  const root = lastRoot(documents);
  const remember = ({ role, signed, fingerprint, signatures }: Metadata) => {
    const { keyids } = root.signed.roles[role];
    const signers = role === "root" ? [] : signatures.map(({ keyid }) => keyid).filter((id) => keyids.includes(id));
    return { version: signed.version, fingerprint, signers };
  };
  return {
    schema: CLIENT_STATE_SCHEMA,
    id: channelId(root),
    root: remember(root),
    timestamp: remember(documents.timestamp),
    snapshot: remember(documents.snapshot),
    targets: remember(documents.targets),
    ...(seen === undefined
      ? previous?.seen === undefined
        ? {}
        : { seen: previous.seen }
      : { seen: formatTime(seen) }),
  };
}
