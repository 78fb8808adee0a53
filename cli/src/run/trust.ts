/** What the flags say about whom to trust. */
import { realpath } from "node:fs/promises";
import {
  loadPolicyKey,
  nodeHashes,
  nodeVerifier,
  openLocation,
  readPolicy,
  readPublicKey,
  usesSigstoreAttachments,
} from "@ashlar/core/node";
import type { Admission } from "@ashlar/core/ops/image";
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
