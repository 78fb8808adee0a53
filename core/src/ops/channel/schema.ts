/** What the signed parts hold: TUF's fields, and under `ashlar` and `custom` ours. Fields not named here are kept and ignored. */
import * as v from "valibot";
import { MAX_KEYS, MAX_RELEASES, MAX_ROLLOUT_STEPS, MAX_SIGNATURES, ROLLOUT_PARTS } from "./format.ts";

const Version = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** TUF's one form of a time. tuf-js takes any text here and never lets `NaN` expire, so the form is checked first. */
export const Time = v.pipe(
  v.string(),
  v.regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/, "is not a time such as 2026-01-01T00:00:00Z"),
  v.check((text) => toTime(text) !== undefined, "is not a time such as 2026-01-01T00:00:00Z"),
);

/** Milliseconds since 1970; undefined for the 31st of February. */
function toTime(text: string): number | undefined {
  const time = Date.parse(text);
  return Number.isNaN(time) || formatTime(time) !== text ? undefined : time;
}

/** @param time milliseconds since 1970, cut to whole seconds */
export function formatTime(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}

const Hex = v.pipe(v.string(), v.regex(/^([0-9a-f]{2}){1,2048}$/, "is not bytes in hexadecimal"));
export const KeyId = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "is not a key id"));
const Sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "is not a sha256 in hexadecimal"));
export const DigestText = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/, "is not a sha256 digest"));

/** A product's and a channel's name: part of target paths. */
const Name = v.pipe(v.string(), v.regex(/^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$/, "is not a name"));
/** IMAGE_VERSION; see ops/release/identity.ts. */
const ReleaseVersion = v.pipe(v.string(), v.regex(/^[0-9A-Za-z][0-9A-Za-z.~^-]{0,127}$/, "is not an image version"));
const Architecture = v.pipe(v.string(), v.regex(/^[a-z0-9]{1,32}$/, "is not an architecture"));

/** Key type and scheme of TUF; P-384 is left out since tuf-js hashes its input with SHA-256. */
const KEY_SCHEMES: Readonly<Record<string, string>> = {
  ed25519: "ed25519",
  ecdsa: "ecdsa-sha2-nistp256",
  rsa: "rsassa-pss-sha256",
};

const KeySchema = v.pipe(
  v.looseObject({
    keytype: v.picklist(["ed25519", "ecdsa", "rsa"]),
    scheme: v.string(),
    keyval: v.looseObject({ public: v.pipe(v.string(), v.maxLength(8192)) }),
  }),
  v.check(({ keytype, scheme }) => KEY_SCHEMES[keytype] === scheme, "has a scheme that is not its type's"),
);

const RoleSchema = v.pipe(
  v.looseObject({
    keyids: v.pipe(v.array(KeyId), v.maxLength(MAX_KEYS)),
    threshold: Version,
  }),
  v.check(({ keyids }) => new Set(keyids).size === keyids.length, "names a key twice"),
  v.check(({ keyids, threshold }) => threshold <= keyids.length, "has a threshold above the number of its keys"),
);

const common = <R extends string>(role: R) => ({
  _type: v.literal(role),
  spec_version: v.pipe(v.string(), v.regex(/^1\.[0-9]{1,4}(\.[0-9]{1,4})?$/, "is not TUF 1")),
  version: Version,
  expires: Time,
});

export const RootSchema = v.looseObject({
  ...common("root"),
  consistent_snapshot: v.boolean(),
  keys: v.pipe(
    v.record(KeyId, KeySchema),
    v.check((keys) => Object.keys(keys).length <= MAX_KEYS, `has more than ${MAX_KEYS} keys`),
  ),
  roles: v.looseObject({ root: RoleSchema, timestamp: RoleSchema, snapshot: RoleSchema, targets: RoleSchema }),
  ashlar: v.looseObject({
    product: Name,
    name: Name,
    /** Grows when all earlier releases are to count as older, whatever their version says. */
    epoch: Count,
    /** {@link ../metadata.ts channelId}; absent in version 1, which it is made from. */
    id: v.optional(DigestText),
  }),
});

/** Of another document of the channel; by TUF both fields beside the version may be missing, here they are there. */
const MetaFileSchema = v.looseObject({
  version: Version,
  length: Count,
  hashes: v.looseObject({ sha256: Sha256 }),
});

const Bound = v.looseObject({ id: DigestText });

export const TimestampSchema = v.looseObject({
  ...common("timestamp"),
  meta: v.looseObject({ "snapshot.json": MetaFileSchema }),
  ashlar: Bound,
});

export const SnapshotSchema = v.looseObject({
  ...common("snapshot"),
  meta: v.looseObject({ "targets.json": MetaFileSchema }),
  ashlar: Bound,
});

const RolloutStep = v.looseObject({
  /** Of ROLLOUT_PARTS: the share of devices that may install. */
  parts: v.pipe(Count, v.maxValue(ROLLOUT_PARTS)),
  /** From when on; absent in the first step. */
  from: v.optional(Time),
});

const Rollout = v.pipe(
  v.array(RolloutStep),
  v.minLength(1),
  v.maxLength(MAX_ROLLOUT_STEPS),
  v.check(
    (steps) => steps.every(({ from }, i) => i === 0 || (from !== undefined && from > (steps[i - 1]?.from ?? ""))),
    "has steps that are not in the order of their times",
  ),
);

const CustomSchema = v.looseObject({
  product: Name,
  architecture: Architecture,
  version: ReleaseVersion,
  epoch: Count,
  rootHash: v.pipe(v.string(), v.regex(/^([0-9a-f]{64}|[0-9a-f]{128})$/, "is not a root hash")),
  mediaType: v.pipe(v.string(), v.maxLength(255)),
  barrier: v.optional(v.boolean()),
  minAgent: v.optional(ReleaseVersion),
  rollout: v.optional(Rollout),
});

const TargetSchema = v.looseObject({
  length: Count,
  hashes: v.looseObject({ sha256: Sha256 }),
  custom: CustomSchema,
});

export const TargetsSchema = v.looseObject({
  ...common("targets"),
  targets: v.pipe(
    v.record(v.pipe(v.string(), v.maxLength(512)), TargetSchema),
    v.check((targets) => Object.keys(targets).length <= MAX_RELEASES, `has more than ${MAX_RELEASES} releases`),
  ),
  ashlar: v.looseObject({ id: DigestText, floor: v.optional(ReleaseVersion) }),
});

const SignatureSchema = v.looseObject({ keyid: KeyId, sig: Hex });

export const EnvelopeSchema = v.looseObject({
  signatures: v.pipe(
    v.array(SignatureSchema),
    v.maxLength(MAX_SIGNATURES),
    v.check((all) => new Set(all.map(({ keyid }) => keyid)).size === all.length, "has two signatures of one key"),
  ),
  signed: v.looseObject({ _type: v.string() }),
});

export type TufKey = v.InferOutput<typeof KeySchema>;
export type TufSignature = v.InferOutput<typeof SignatureSchema>;
export type RootSigned = v.InferOutput<typeof RootSchema>;
type TimestampSigned = v.InferOutput<typeof TimestampSchema>;
type SnapshotSigned = v.InferOutput<typeof SnapshotSchema>;
export type TargetsSigned = v.InferOutput<typeof TargetsSchema>;
export type Target = TargetsSigned["targets"][string];
export type RolloutStep = v.InferOutput<typeof RolloutStep>;

export interface SignedOf {
  readonly root: RootSigned;
  readonly timestamp: TimestampSigned;
  readonly snapshot: SnapshotSigned;
  readonly targets: TargetsSigned;
}
