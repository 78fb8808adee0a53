/** Signatures on a document, and whether they are enough. */
import { toHex } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { Role } from "./format.ts";
import { canonicalBytes, encodeMetadata, keyIdOf, type Metadata } from "./metadata.ts";
import type { RootSigned, SignedOf, TufKey, TufSignature } from "./schema.ts";

/** A private key, wherever it is: in a file, a token, another program. */
export interface ChannelSigner {
  readonly key: TufKey;
  /** A signature over `bytes` in the scheme of the key: RSA-PSS and ECDSA hash them with SHA-256 themselves. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** A document before its bytes are fixed: more signatures may come. */
export interface Unsealed<R extends Role = Role> {
  readonly signed: SignedOf[R];
  readonly signatures: readonly TufSignature[];
}

export const unsealed = <R extends Role>({ signed, signatures }: Metadata<R>): Unsealed<R> => ({ signed, signatures });

/** Without the signatures that `root` does not ask for: nobody has verified those. */
export function vouched<R extends Role>({ role, signed, signatures }: Metadata<R>, root: RootSigned): Unsealed<R> {
  const { keyids } = root.roles[role];
  return { signed, signatures: signatures.filter(({ keyid }) => keyids.includes(keyid)) };
}

export const sealDocument = <R extends Role>(role: R, document: Unsealed<R>, hashes: Hashes): Metadata<R> =>
  encodeMetadata(role, document.signed, document.signatures, hashes);

/** What one rule asks of a document: so many signatures of these keys. */
export interface Requirement {
  readonly role: Role;
  /** For people: `root 3`, the document that makes the rule. */
  readonly by: string;
  readonly keyIds: readonly string[];
  readonly threshold: number;
}

/** @param roots the root in force when the document is, and for a root also the one before it */
export function requirementsOf(role: Role, roots: readonly RootSigned[]): Requirement[] {
  return roots.map((root) => {
    const { keyids, threshold } = root.roles[role];
    return { role, by: `root ${root.version}`, keyIds: keyids, threshold };
  });
}

/** Adds a signature of each signer that some requirement names and that has not signed. */
export async function signDocument<R extends Role>(
  document: Unsealed<R>,
  requirements: readonly Requirement[],
  signers: readonly ChannelSigner[],
  hashes: Hashes,
): Promise<Unsealed<R>> {
  const bytes = canonicalBytes(document.signed);
  const signatures = [...document.signatures];
  for (const signer of signers) {
    const id = keyIdOf(signer.key, hashes);
    const asked = requirements.some(({ keyIds }) => keyIds.includes(id));
    if (!asked || signatures.some(({ keyid }) => keyid === id)) continue;
    signatures.push({ keyid: id, sig: toHex(await signer.sign(bytes)) });
  }
  // One order, whoever signed first: the same signatures are the same bytes.
  signatures.sort((a, b) => (a.keyid < b.keyid ? -1 : 1));
  return { signed: document.signed, signatures };
}

export interface SignatureCount extends Requirement {
  readonly signedBy: readonly string[];
  readonly missing: number;
}

/** Counts signatures by their key ids alone; whether they are valid is verified before anything is published. */
export function countSignatures({ signatures }: Unsealed, requirements: readonly Requirement[]): SignatureCount[] {
  return requirements.map((requirement) => {
    const signedBy = requirement.keyIds.filter((id) => signatures.some(({ keyid }) => keyid === id));
    return { ...requirement, signedBy, missing: Math.max(0, requirement.threshold - signedBy.length) };
  });
}

/** Throws PolicyError `channel-threshold` naming what is missing. */
export function assertSigned(document: Unsealed, requirements: readonly Requirement[]): void {
  for (const { role, by, threshold, keyIds, signedBy, missing } of countSignatures(document, requirements))
    if (missing > 0) {
      const others = keyIds.filter((id) => !signedBy.includes(id)).map((id) => id.slice(0, 12));
      throw new PolicyError(
        "channel-threshold",
        `${role} ${document.signed.version}: ${signedBy.length} of ${threshold} signatures that ${by} asks for; keys that have not signed: ${others.join(", ")}`,
        { expected: threshold, actual: signedBy.length },
      );
    }
}
