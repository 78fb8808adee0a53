/** Which inputs may be used: by keys that must have signed them, or by a policy. */
import { PolicyError } from "../../errors/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { Admission, Candidate } from "../image/index.ts";
import type { TrustEnvironment } from "./attachments.ts";
import type { PublicKey } from "./keys.ts";
import type { IdentityRule } from "./names.ts";
import {
  dockerScopes,
  type KeySource,
  type Policy,
  pathScopes,
  type Requirement,
  requirementsFor,
  unsignable,
  verifyRequirements,
} from "./policy.ts";
import { type AcceptedSignature, type Signed, verifySignature } from "./verify.ts";

/** What decides: any of some keys under a rule for names, or a policy of containers. */
export type Trust =
  | { readonly kind: "keys"; readonly keys: readonly PublicKey[]; readonly identity: IdentityRule }
  | {
      readonly kind: "policy";
      readonly policy: Policy;
      loadKey(source: KeySource): Promise<PublicKey>;
      /** Of `registries.d`, for an image of a registry. */
      usesAttachments(name: string): Promise<boolean>;
      /** A path without links in it, as scopes of a policy are written. */
      realPath(path: string): Promise<string>;
    };

/** Who signed what is about to be used: none where a policy accepts anything. */
export interface Admitted {
  readonly digest: Digest | undefined;
  readonly signatures: readonly AcceptedSignature[];
}

/** @param onAdmitted is told what was accepted, for the report */
export function admissionBy(
  trust: Trust,
  environment: TrustEnvironment,
  onAdmitted: (candidate: Candidate, admitted: Admitted) => void = () => {},
): Admission {
  return async (candidate) => onAdmitted(candidate, await decide(trust, candidate, environment));
}

/**
 * An index that is signed covers the manifest that was chosen from it; else that manifest itself must be signed. Errors:
 * those of `verifySignature` and `verifyRequirements`; PolicyError `unsigned` for what is in no repository.
 */
async function decide(trust: Trust, candidate: Candidate, environment: TrustEnvironment): Promise<Admitted> {
  const { repository, digests, reference } = candidate;
  const name = nameOf(candidate);
  const image = name ?? `${reference.transport}:${reference.path}`;
  const judge = await judgeOf(trust, candidate, image, environment);
  if (repository === undefined) return { digest: undefined, signatures: await judge(undefined) };
  let refusal: PolicyError | undefined;
  for (const digest of digests)
    try {
      return { digest, signatures: await judge({ repository, digest, name }) };
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      // Of the two the one that is signed at all says more.
      if (refusal === undefined || refusal.code === "unsigned") refusal = error;
    }
  throw refusal ?? unsignable(image);
}

type Judge = (signed: Signed | undefined) => Promise<readonly AcceptedSignature[]>;

async function judgeOf(
  trust: Trust,
  candidate: Candidate,
  image: string,
  environment: TrustEnvironment,
): Promise<Judge> {
  if (trust.kind === "keys")
    return async (signed) => {
      if (signed === undefined) throw unsignable(image);
      return [await verifySignature(signed, trust, environment)];
    };
  const requirements = await requirementsOf(trust, candidate);
  const name = nameOf(candidate);
  const needsAttachments = name !== undefined && requirements.some(({ type }) => type === "sigstoreSigned");
  const usesAttachments = needsAttachments ? await trust.usesAttachments(name) : true;
  return (signed) => verifyRequirements(requirements, image, signed, { ...trust, usesAttachments }, environment);
}

/** As policies and signatures name it: complete, and with the tag that was meant. */
function nameOf({ reference: { transport, path, tag, digest } }: Candidate): string | undefined {
  if (transport !== "docker") return undefined;
  return digest === undefined ? `${path}:${tag ?? "latest"}` : `${path}@${digest}`;
}

async function requirementsOf(
  trust: Trust & { kind: "policy" },
  candidate: Candidate,
): Promise<readonly Requirement[]> {
  const { transport, path, tag } = candidate.reference;
  const name = nameOf(candidate);
  if (name !== undefined) return requirementsFor(trust.policy, "docker", dockerScopes(name));
  const hasPath = ["oci", "oci-archive", "dir"].includes(transport);
  const scopes = hasPath ? pathScopes(await trust.realPath(path), tag) : [];
  return requirementsFor(trust.policy, transport, scopes);
}
