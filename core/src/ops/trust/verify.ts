/** Whether a digest in a repository carries a signature that a rule accepts, and if not, why. */
import { oneLine } from "../../bytes/index.ts";
import { type AshlarError, IntegrityError, isAshlarError, PolicyError } from "../../errors/index.ts";
import type { Repository } from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import {
  type Attachment,
  type Found,
  readBundles,
  readClassic,
  type SignatureForm,
  type TrustEnvironment,
} from "./attachments.ts";
import { keyHint } from "./bundle.ts";
import { SIGN_PREDICATE } from "./format.ts";
import { describeKey, type PublicKey } from "./keys.ts";
import { type IdentityRule, nameRefusal } from "./names.ts";
import { parseSimpleSigning } from "./simple-signing.ts";
import { hasDigest, parseStatement, type Statement } from "./statement.ts";

/** Who may have signed, and under which name. */
export interface SignatureRule {
  /** A signature by any of them will do. */
  readonly keys: readonly PublicKey[];
  readonly identity: IdentityRule;
}

/** What the signature is to be of. */
export interface Signed {
  readonly repository: Repository;
  readonly digest: Digest;
  /** As the user named it, `HOST/NAME[:TAG][@DIGEST]`; a layout has no such name. */
  readonly name: string | undefined;
}

export interface AcceptedSignature {
  readonly form: SignatureForm;
  /** For people: which signature it is. */
  readonly what: string;
  readonly key: PublicKey;
  readonly digest: Digest;
  /** The name that it was signed under. */
  readonly signedName: string | undefined;
}

/** How near a signature came to being accepted. */
const RANK = { wrongKey: 0, unusable: 1, badSignature: 2, spoiled: 3, wrongDigest: 4, wrongIdentity: 5 } as const;

/** Why one signature does not count. Where none counts, that of the highest rank is told. */
interface Refusal {
  readonly rank: number;
  /** @param others what to say of the other signatures, at the end */
  error(others: string): AshlarError;
}

type Verdict<T> = { readonly accepted: T } | { readonly refusal: Refusal };

/**
 * The first signature that the rule accepts. Errors: PolicyError `unsigned`, `wrong-key`, `bad-signature`,
 * `wrong-digest`, `wrong-identity`, `unusable-signature`; IntegrityError `digest-mismatch`, `size-mismatch`; SourceError
 * where the repository does not answer, which never reads as unsigned.
 */
export async function verifySignature(
  signed: Signed,
  rule: SignatureRule,
  environment: TrustEnvironment,
): Promise<AcceptedSignature> {
  const { repository, digest, name } = signed;
  const refusals: Refusal[] = [];
  for (const read of [
    () => readBundles(repository, digest, SIGN_PREDICATE, environment),
    () => readClassic(repository, digest, environment),
  ]) {
    const found = await read();
    for (const attachment of found.attachments) {
      const verdict = await judge(attachment, signed, rule, environment);
      if ("accepted" in verdict) return verdict.accepted;
      refusals.push(verdict.refusal);
    }
    refusals.push(...unreadable(found));
  }
  throw refused(refusals, `${name ?? repository.name} (${digest})`);
}

/** A statement of one type about the digest, by one of the keys. Errors as {@link verifySignature}. */
export async function verifyStatement(
  { repository, digest, name }: Signed,
  predicateType: string,
  keys: readonly PublicKey[],
  environment: TrustEnvironment,
): Promise<{ readonly statement: Statement; readonly key: PublicKey; readonly what: string }> {
  const found = await readBundles(repository, digest, predicateType, environment);
  const refusals: Refusal[] = unreadable(found);
  for (const attachment of found.attachments) {
    const verdict = await signedStatement(attachment, digest, predicateType, keys, environment);
    if ("accepted" in verdict) return { ...verdict.accepted, what: attachment.what };
    refusals.push(verdict.refusal);
  }
  throw refused(refusals, `${name ?? repository.name} (${digest}): ${predicateType}`);
}

function refused(refusals: readonly Refusal[], what: string): AshlarError {
  const [best, ...others] = [...refusals].sort((a, b) => b.rank - a.rank);
  if (best === undefined) return new PolicyError("unsigned", `${what}: is not signed`, { path: what });
  return best.error(others.length === 0 ? "" : `, nor is any of the ${others.length} others accepted`);
}

function unreadable({ unreadable: all }: Found): Refusal[] {
  return all.map(({ what, error }) => {
    if (error instanceof IntegrityError) return { rank: RANK.spoiled, error: () => error };
    const message = error.message.startsWith(what) ? error.message : `${what}: ${error.message}`;
    return {
      rank: RANK.unusable,
      error: (others) => new PolicyError("unusable-signature", `${message}${others}`, { path: what, cause: error }),
    };
  });
}

/** By which of the keys the attachment is signed. */
async function signerOf(
  { what, message, signatures, hint }: Attachment,
  keys: readonly PublicKey[],
  { verifier }: TrustEnvironment,
): Promise<Verdict<PublicKey>> {
  for (const key of keys)
    for (const signature of signatures) if (await verifier.verify(key, message, signature)) return { accepted: key };
  const wanted = keys.map(describeKey).join(" or ");
  if (hint !== undefined && !keys.some(({ id }) => keyHint(id) === hint))
    return {
      refusal: {
        rank: RANK.wrongKey,
        error: (others) => new PolicyError("wrong-key", `${what} is by another key than ${wanted}${others}`),
      },
    };
  return {
    refusal: {
      rank: RANK.badSignature,
      error: (others) => new PolicyError("bad-signature", `${what} is not by ${wanted}, or was changed since${others}`),
    },
  };
}

function unusable(what: string, error: unknown): { readonly refusal: Refusal } {
  if (!isAshlarError(error)) throw error;
  const [refusal] = unreadable({ attachments: [], unreadable: [{ what, error }] });
  return { refusal: refusal! }; // one in, one out
}

function wrongDigest(what: string, digest: Digest): { readonly refusal: Refusal } {
  return {
    refusal: {
      rank: RANK.wrongDigest,
      error: (others) =>
        new PolicyError("wrong-digest", `${what} is a signature of something else than ${digest}${others}`, {
          expected: digest,
        }),
    },
  };
}

/** The statement of a bundle, when one of the keys has signed it and it is about the digest. */
async function signedStatement(
  attachment: Attachment,
  digest: Digest,
  predicateType: string,
  keys: readonly PublicKey[],
  environment: TrustEnvironment,
): Promise<Verdict<{ readonly statement: Statement; readonly key: PublicKey }>> {
  const { what, payload } = attachment;
  const signer = await signerOf(attachment, keys, environment);
  if ("refusal" in signer) return signer;
  try {
    const statement = parseStatement(payload, what);
    if (!statement.subject.some((subject) => hasDigest(subject, digest))) return wrongDigest(what, digest);
    if (statement.predicateType === predicateType) return { accepted: { statement, key: signer.accepted } };
    throw new PolicyError("wrong-predicate", `${what}: says ${oneLine(statement.predicateType)}, not ${predicateType}`);
  } catch (error) {
    return unusable(what, error);
  }
}

/** Nothing of a payload is read before a key that counts has signed it. */
async function judge(
  attachment: Attachment,
  { digest, name }: Signed,
  { keys, identity }: SignatureRule,
  environment: TrustEnvironment,
): Promise<Verdict<AcceptedSignature>> {
  const { form, what, payload } = attachment;
  let key: PublicKey;
  let names: readonly (string | undefined)[];
  if (form === "bundle") {
    const verdict = await signedStatement(attachment, digest, SIGN_PREDICATE, keys, environment);
    if ("refusal" in verdict) return verdict;
    key = verdict.accepted.key;
    names = verdict.accepted.statement.subject
      .filter((subject) => hasDigest(subject, digest))
      .map((subject) => subject.name);
  } else {
    const signer = await signerOf(attachment, keys, environment);
    if ("refusal" in signer) return signer;
    key = signer.accepted;
    try {
      const claim = parseSimpleSigning(payload, what);
      if (claim.digest !== digest) return wrongDigest(what, digest);
      names = [claim.reference];
    } catch (error) {
      return unusable(what, error);
    }
  }
  const reasons = names.map((signedName) => ({
    signedName,
    reason: nameRefusal(identity, name, signedName || undefined),
  }));
  const right = reasons.find(({ reason }) => reason === undefined);
  if (right !== undefined) return { accepted: { form, what, key, digest, signedName: right.signedName || undefined } };
  return {
    refusal: {
      rank: RANK.wrongIdentity,
      error: (others) =>
        new PolicyError("wrong-identity", `${what} is by ${describeKey(key)}, but ${reasons[0]?.reason}${others}`),
    },
  };
}
