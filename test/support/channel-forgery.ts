// What an attacker does to a channel: documents signed with stolen or own keys, and the registry in their hands.
import { createHash } from "node:crypto";
import { toHex } from "../../core/src/bytes/index.ts";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import {
  type ChannelDocuments,
  type ChannelSigner,
  canonicalBytes,
  keyIdOf,
  type Metadata,
  parseMetadata,
  type Role,
  type SignedOf,
  tagDigest,
  writeChannel,
} from "../../core/src/ops/channel/index.ts";

/** Any JSON as a document: nobody checks an attacker's work. */
export async function forge<R extends Role>(
  role: R,
  signed: object,
  signers: readonly ChannelSigner[],
): Promise<Metadata<R>> {
  const signatures = [];
  for (const signer of signers)
    signatures.push({ keyid: keyIdOf(signer.key, nodeHashes), sig: toHex(await signer.sign(canonicalBytes(signed))) });
  return asDocument(role, { signatures, signed });
}

/** The bytes count; what a reader makes of them is left to the reader. */
export function asDocument<R extends Role>(role: R, envelope: unknown): Metadata<R> {
  return fromBytes(role, new TextEncoder().encode(JSON.stringify(envelope)));
}

export function fromBytes<R extends Role>(role: R, bytes: Uint8Array): Metadata<R> {
  const signed = { version: 1, ashlar: {} } as unknown as SignedOf[R]; // for titles and annotations only
  return { role, bytes, signatures: [], signed, fingerprint: "sha256:" };
}

export interface Envelope<R extends Role> {
  readonly signatures: { keyid: string; sig: string }[];
  readonly signed: SignedOf[R];
}

export const envelopeOf = <R extends Role>({ bytes }: Metadata<R>): Envelope<R> =>
  JSON.parse(new TextDecoder().decode(bytes)) as Envelope<R>;

/** Puts documents under the tag, whatever was there. */
export async function serve(repository: Repository, documents: ChannelDocuments, tag = "stable"): Promise<void> {
  await writeChannel(repository, documents, tag, nodeHashes, { replaces: await tagDigest(repository, tag) });
}

/** How a document is named by the one above it. */
export const meta = ({ bytes }: Metadata, version: number) => ({
  version,
  length: bytes.length,
  hashes: { sha256: createHash("sha256").update(bytes).digest("hex") },
});

export interface OnlineForgery {
  readonly targets?: Metadata<"targets">;
  /** Versions to claim. */
  readonly snapshot?: number;
  readonly timestamp?: number;
  readonly expires?: string;
}

/** Snapshot and timestamp made anew with a stolen online key, around these targets. */
export async function forgeOnline(
  state: ChannelDocuments,
  online: readonly ChannelSigner[],
  forgery: OnlineForgery,
): Promise<ChannelDocuments> {
  const targets = forgery.targets ?? state.targets;
  const expires = forgery.expires ?? state.timestamp.signed.expires;
  const version = parseMetadata("targets", targets.bytes, nodeHashes).signed.version;
  const snapshotVersion = forgery.snapshot ?? state.snapshot.signed.version + 1;
  const snapshot = await forge(
    "snapshot",
    { ...state.snapshot.signed, expires, version: snapshotVersion, meta: { "targets.json": meta(targets, version) } },
    online,
  );
  const timestamp = await forge(
    "timestamp",
    {
      ...state.timestamp.signed,
      expires,
      version: forgery.timestamp ?? state.timestamp.signed.version + 1,
      meta: { "snapshot.json": meta(snapshot, snapshotVersion) },
    },
    online,
  );
  return { roots: state.roots, targets, snapshot, timestamp };
}
