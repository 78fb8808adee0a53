/** Flags that say whom to trust. */
import { parseText } from "../parse.ts";
import { text } from "./flags.ts";

const key = (brief: string) =>
  ({ kind: "parsed", parse: parseText, brief, placeholder: "KEY", variadic: true, optional: true }) as const;

const shared = {
  policy: text("Policy of containers (policy.json) that must allow it", "FILE"),
  registriesD: text(
    "Directory with the registries.d that the policy goes with (default: the user's, else /etc)",
    "DIR",
  ),
  identity: text(
    "Name that it must be signed under, HOST/NAME, or any (default: the repository it is in, where a name was signed)",
    "NAME",
  ),
} as const;

/** Of commands that take an image to use it. */
export const sourceTrustFlags = {
  verifyKey: key("Public key (PEM) that must have signed the image; with several, any of them"),
  ...shared,
} as const;

/** Of `verify`. */
export const trustFlags = {
  key: key("Public key (PEM) that must have signed it; with several, any of them"),
  ...shared,
} as const;

interface SharedTrustFlags {
  readonly policy?: string | undefined;
  readonly registriesD?: string | undefined;
  readonly identity?: string | undefined;
}

export interface SourceTrustFlags extends SharedTrustFlags {
  readonly verifyKey?: readonly string[] | undefined;
}

export interface TrustFlags extends SharedTrustFlags {
  readonly key?: readonly string[] | undefined;
}
