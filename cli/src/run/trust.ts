/** What the flags say about whom to trust. */
import { realpath } from "node:fs/promises";
import { isAshlarError } from "@ashlar/core/errors";
import type { Descriptor, Platform, Repository, Selector } from "@ashlar/core/formats/oci";
import type { Digest } from "@ashlar/core/hash";
import { nodeHashes } from "@ashlar/core/node";
import { openLocation } from "@ashlar/core/node/registry";
import {
  loadPolicyKey,
  nodeVerifier,
  readPolicy,
  readPublicKey,
  usesSigstoreAttachments,
} from "@ashlar/core/node/trust";
import type { Admission, Reference } from "@ashlar/core/ops/image";
import { releasesIn, resolveRelease } from "@ashlar/core/ops/publish";
import {
  type AcceptedSignature,
  admissionBy,
  describeKey,
  type IdentityRule,
  parseImageName,
  type Trust,
  type TrustEnvironment,
} from "@ashlar/core/ops/trust";
import type { SourceTrustFlags, TrustFlags } from "../commands/trust-flags.ts";
import type { Session } from "./session.ts";

export function trustEnvironment({ signal }: Pick<Session, "signal">): TrustEnvironment {
  return { hashes: nodeHashes, verifier: nodeVerifier, signal };
}

/** The default: a signature must not be for another repository; the newer form need not name one. */
function identityRule(identity: string | undefined): IdentityRule {
  if (identity === undefined) return { type: "matchRepositoryIfNamed" };
  if (identity === "any") return { type: "any" };
  parseImageName(identity); // a mistake is told before anything is fetched
  return { type: "exactRepository", repository: identity };
}

/** Everything that must accept: the keys where some are given, and the policy where one is. */
export async function trustsOf({ key = [], policy, identity, registriesD }: TrustFlags): Promise<readonly Trust[]> {
  const trusts: Trust[] = [];
  if (key.length > 0)
    trusts.push({ kind: "keys", keys: await Promise.all(key.map(readPublicKey)), identity: identityRule(identity) });
  if (policy !== undefined)
    trusts.push({
      kind: "policy",
      policy: await readPolicy(policy),
      loadKey: loadPolicyKey,
      usesAttachments: (name) => usesSigstoreAttachments(name, registriesD),
      realPath: async (path) => realpath(path).catch(() => path), // what is not there is told by who opens it
    });
  return trusts;
}

/** For commands that use an image; undefined where nobody asks for a signature. Says who signed. */
export async function sourceAdmission(flags: SourceTrustFlags, session: Session): Promise<Admission | undefined> {
  const trusts = await trustsOf({ ...flags, key: flags.verifyKey });
  if (trusts.length === 0) return undefined;
  const environment = trustEnvironment(session);
  const admissions = trusts.map((trust) =>
    admissionBy(trust, environment, (_, { signatures }) => {
      for (const signature of signatures)
        session.reporter.note({ code: "signed", message: `${signature.digest} is ${describeSignature(signature)}` });
    }),
  );
  return async (candidate) => {
    // An image in a layout is read as one; its signatures lie in the same layout.
    const { reference, digests } = candidate;
    const isLayout =
      candidate.repository === undefined &&
      digests.length > 0 &&
      (reference.transport === "oci" || reference.transport === "oci-archive");
    const location = isLayout
      ? await openLocation(reference, undefined, { write: false, signal: session.signal })
      : undefined;
    try {
      const repository = candidate.repository ?? location?.repository;
      for (const admit of admissions) await admit({ ...candidate, repository });
    } finally {
      await location?.close();
    }
  };
}

export function describeSignature({ key, form, signedName }: AcceptedSignature): string {
  const name = signedName === undefined ? "without a name" : `as ${signedName}`;
  return `signed by ${describeKey(key)} ${name} (${form === "classic" ? "simple signing" : "sigstore bundle"})`;
}

/** What a name means, resolved once: a signature must be on one of `digests`. */
export interface ResolvedForTrust {
  readonly start: Descriptor;
  /** The release that the name means; undefined where it means something else, such as a container image. */
  readonly release: Descriptor | undefined;
  readonly digests: readonly Digest[];
}

export async function resolveForTrust(
  repository: Repository,
  selector: Selector,
  platform: Platform | undefined,
  signal: AbortSignal,
): Promise<ResolvedForTrust> {
  const start = await repository.resolve(selector, { signal });
  try {
    await releasesIn(repository, start, nodeHashes, { signal });
  } catch (error) {
    if (!isAshlarError(error) || error.code !== "not-a-release") throw error;
    return { start, release: undefined, digests: [start.digest] };
  }
  const release = await resolveRelease(repository, { digest: start.digest }, nodeHashes, { platform, signal });
  return { start, release, digests: [...new Set([start.digest, release.digest])] };
}

/**
 * The release that a reference means, when the flags accept it. Where it means a container image, that one's signature
 * says nothing of the release made from it: the release itself must be signed.
 */
export async function admittedRelease(
  repository: Repository,
  reference: Reference,
  platform: Platform | undefined,
  flags: SourceTrustFlags,
  session: Session,
): Promise<Descriptor> {
  const { signal } = session;
  const admit = await sourceAdmission(flags, session);
  if (admit === undefined) return resolveRelease(repository, reference, nodeHashes, { platform, signal });
  const { start, release, digests } = await resolveForTrust(repository, reference, platform, signal);
  if (release !== undefined) {
    await admit({ reference, repository, digests });
    return release;
  }
  const referring = await resolveRelease(repository, { digest: start.digest }, nodeHashes, { platform, signal });
  await admit({ reference, repository, digests: [referring.digest] });
  return referring;
}
