/** Flags that the commands of channels share, and what the commands get of them. */
import { parseDuration, parseRollout, parseSeconds, parseText, parseThreshold } from "../parse.ts";
import { jsonFlag, type OutputFlags, type RegistryFlags, registryFlags, text } from "./flags.ts";

export const list = (brief: string, placeholder: string) =>
  ({ kind: "parsed", parse: parseText, brief, placeholder, variadic: true, optional: true }) as const;

const lifetime = (what: string, standard: string) =>
  ({
    kind: "parsed",
    parse: parseDuration,
    brief: `How long ${what} signed now is valid: 12h, 7d, 26w (default: ${standard})`,
    placeholder: "TIME",
    optional: true,
  }) as const;

export const threshold = (brief: string) =>
  ({ kind: "parsed", parse: parseThreshold, brief, placeholder: "N", default: "1" }) as const;

export const channelParameter = {
  brief: "HOST/NAME:TAG of the channel",
  parse: String,
  placeholder: "CHANNEL",
} as const;
export const one = <P extends object>(parameter: P) => ({ kind: "tuple", parameters: [parameter] }) as const;

export const common = { ...registryFlags, json: jsonFlag } as const;

const lifetimeFlags = {
  rootLifetime: lifetime("a root", "365d"),
  targetsLifetime: lifetime("a list of releases", "91d"),
  snapshotLifetime: lifetime("a snapshot", "7d"),
  timestampLifetime: lifetime("a timestamp", "7d"),
} as const;

export const stateFlag = text("What was seen before; read where it is there, and written", "FILE");

export const rootFlag = text(
  "Root that the channel must descend from: its file, or the sha256:… that `show` prints",
  "ROOT",
);

export const keyFlags = {
  key: list("Private key to sign with, or with --signer the public key; may be given again", "FILE"),
  passwordFile: text("File whose first line is the password of the keys", "FILE"),
  signer: text("Command that signs for the public keys, as that of `ashlar sign`", "CMD"),
  signerTimeout: {
    kind: "parsed",
    parse: parseSeconds,
    brief: "How long the command may take (default: 120)",
    placeholder: "SECONDS",
    optional: true,
  },
} as const;

export interface KeyFlags {
  readonly key?: readonly string[] | undefined;
  readonly passwordFile?: string | undefined;
  readonly signer?: string | undefined;
  readonly signerTimeout?: number | undefined;
}

/** Of every command that signs. */
export const signingFlags = { ...keyFlags, ...lifetimeFlags, ...common } as const;

export const changeFlags = {
  ...signingFlags,
  partial: text("Do not publish: write the change there, for others to sign", "DRAFT"),
  root: rootFlag,
  state: stateFlag,
} as const;

export interface LifetimeFlags {
  /** Seconds, all of them. */
  readonly rootLifetime?: number | undefined;
  readonly targetsLifetime?: number | undefined;
  readonly snapshotLifetime?: number | undefined;
  readonly timestampLifetime?: number | undefined;
}

export interface SigningFlags extends KeyFlags, LifetimeFlags, RegistryFlags, OutputFlags {}

export interface PublishFlags extends SigningFlags {
  readonly root?: string | undefined;
  readonly state?: string | undefined;
}

export interface ChangeFlags extends PublishFlags {
  readonly partial?: string | undefined;
}

export interface InitFlags extends ChangeFlags {
  readonly product: string;
  readonly name?: string | undefined;
  readonly rootKey?: readonly string[] | undefined;
  readonly targetsKey?: readonly string[] | undefined;
  readonly onlineKey?: readonly string[] | undefined;
  readonly snapshotKey?: readonly string[] | undefined;
  readonly rootThreshold: number;
  readonly targetsThreshold: number;
}

export interface AddFlags extends ChangeFlags {
  readonly barrier: boolean;
  readonly minAgent?: string | undefined;
  readonly rollout?: { readonly parts: number; readonly from?: string }[] | undefined;
  readonly floor?: string | undefined;
}

export interface PromoteFlags extends AddFlags {
  readonly version?: string | undefined;
  readonly fromRoot?: string | undefined;
}

export interface RotateFlags extends ChangeFlags {
  readonly add?: readonly string[] | undefined;
  readonly remove?: readonly string[] | undefined;
  readonly threshold?: readonly string[] | undefined;
  readonly newEpoch: boolean;
  readonly drop?: readonly string[] | undefined;
}

export interface SignFlags extends KeyFlags, OutputFlags {
  readonly root?: string | undefined;
}

export interface ShowFlags extends RegistryFlags, OutputFlags {
  readonly root?: string | undefined;
  readonly saveRoot?: string | undefined;
}

export interface CheckFlags extends RegistryFlags, OutputFlags {
  readonly root?: string | undefined;
  readonly state?: string | undefined;
  readonly product?: string | undefined;
  readonly architecture?: string | undefined;
  readonly version?: string | undefined;
  readonly epoch: number;
  readonly agentVersion?: string | undefined;
  readonly device?: string | undefined;
  /** Nanoseconds since 1970. */
  readonly notBefore?: bigint | undefined;
}

export const ruleFlags = {
  barrier: { kind: "boolean", brief: "No device below this version goes past it", default: false },
  minAgent: text("Lowest version of the agent that may install it", "VERSION"),
  rollout: {
    kind: "parsed",
    parse: parseRollout,
    brief: "Share of devices, and from when on: 5%,50%@2026-12-01T00:00:00Z,100%@2026-12-08T00:00:00Z",
    placeholder: "STEPS",
    optional: true,
  },
  floor: text("From now on no version below this one may be installed or gone back to", "VERSION"),
} as const;
