/** Signs a digest in a repository, in the forms that cosign and containers verify. */
import { equalBytes } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import {
  readBundles,
  readClassic,
  type SignatureForm,
  type TrustEnvironment,
  writeBundle,
  writeClassic,
} from "./attachments.ts";
import { encodeBundle, keyHint, preAuthenticationEncoding } from "./bundle.ts";
import { SIGN_PREDICATE } from "./format.ts";
import type { Signer } from "./keys.ts";
import { encodeSimpleSigning } from "./simple-signing.ts";
import { digestSet, encodeStatement, type Statement } from "./statement.ts";

export interface SignOptions {
  readonly signer: Signer;
  readonly form: SignatureForm;
  /** The name to sign under: `HOST/NAME`. The classic form must have one. */
  readonly name: string | undefined;
}

export interface SignResult {
  readonly form: SignatureForm;
  /** A signature by the same key that says the same may be there already; then nothing is written. */
  readonly result: "present" | "added";
}

/** Errors: PolicyError `no-identity`; those of the signer and of the repository. */
export async function signDigest(
  repository: Repository,
  subject: Descriptor,
  { signer, form, name }: SignOptions,
  environment: TrustEnvironment,
): Promise<SignResult> {
  const { digest } = subject;
  if (form === "bundle") {
    const statement: Statement = {
      subject: [{ ...(name === undefined ? {} : { name }), digest: digestSet(digest) }],
      predicateType: SIGN_PREDICATE,
      predicate: {},
    };
    return attachStatement(repository, subject, statement, signer, environment);
  }
  if (name === undefined)
    throw new PolicyError("no-identity", `${repository.name}: a classic signature names a repository; say which`);
  const payload = encodeSimpleSigning({ digest, reference: name });
  const { attachments } = await readClassic(repository, digest, environment);
  for (const { payload: present, message, signatures } of attachments)
    for (const signature of signatures)
      if (equalBytes(present, payload) && (await environment.verifier.verify(signer.publicKey, message, signature)))
        return { form, result: "present" };
  const signature = await signer.sign(payload, environment);
  await writeClassic(repository, digest, payload, signature, environment);
  return { form, result: "added" };
}

/** Signs a statement and attaches it, unless the same is there by the same key. */
export async function attachStatement(
  repository: Repository,
  subject: Descriptor,
  statement: Statement,
  signer: Signer,
  environment: TrustEnvironment,
): Promise<SignResult> {
  const payload = encodeStatement(statement);
  const message = preAuthenticationEncoding(payload);
  const { attachments } = await readBundles(repository, subject.digest, statement.predicateType, environment);
  for (const present of attachments)
    for (const signature of present.signatures)
      if (
        equalBytes(present.payload, payload) &&
        (await environment.verifier.verify(signer.publicKey, message, signature))
      )
        return { form: "bundle", result: "present" };
  const signature = await signer.sign(message, environment);
  const bundle = encodeBundle({ hint: keyHint(signer.publicKey.id), payload, signatures: [signature] });
  await writeBundle(repository, subject, bundle, statement.predicateType, environment);
  return { form: "bundle", result: "added" };
}
