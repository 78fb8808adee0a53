/**
 * Sigstore's bundle v0.3 with a DSSE envelope: the newer form of signatures, and that of attestations.
 * Spec: sigstore protobuf-specs, sigstore_bundle.proto; DSSE 1.0. A dozen fields of JSON: no library is needed for them.
 */
import * as v from "valibot";
import { concatBytes, encodeUtf8, fromBase64, oneLine, toBase64 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import { type Digest, digestBytes } from "../../hash/index.ts";
import { BUNDLE_TYPE, STATEMENT_PAYLOAD_TYPE } from "./format.ts";

export interface Bundle {
  /** Of the key, as whoever signed it says; not signed itself. */
  readonly hint: string | undefined;
  /** An in-toto statement. */
  readonly payload: Uint8Array;
  readonly signatures: readonly Uint8Array[];
}

/** Signatures of one envelope; bundles have one. */
const MAX_ENVELOPE_SIGNATURES = 8;

const RawBundle = v.looseObject({
  mediaType: v.string(),
  verificationMaterial: v.looseObject({
    publicKey: v.optional(v.looseObject({ hint: v.optional(v.string()) })),
  }),
  dsseEnvelope: v.optional(
    v.looseObject({
      payload: v.string(),
      payloadType: v.string(),
      signatures: v.pipe(
        v.array(v.looseObject({ sig: v.string() })),
        v.minLength(1),
        v.maxLength(MAX_ENVELOPE_SIGNATURES),
      ),
    }),
  ),
});

/** Errors: FormatError `bad-json`, `bad-bundle`, `bad-base64`; UnsupportedError `bundle-version`, `bundle-content`. */
export function parseBundle(bytes: Uint8Array, what: string): Bundle {
  const raw = checkDocument(RawBundle, parseDocument(bytes, what), "bad-bundle", what);
  if (raw.mediaType !== BUNDLE_TYPE)
    throw new UnsupportedError("bundle-version", `${what}: is a ${oneLine(raw.mediaType)}, expected ${BUNDLE_TYPE}`);
  const { dsseEnvelope: envelope, verificationMaterial } = raw;
  if (envelope === undefined || verificationMaterial.publicKey === undefined)
    throw new UnsupportedError(
      "bundle-content",
      `${what}: ${envelope === undefined ? "holds no DSSE envelope" : "was signed with a certificate, not with a key"}`,
    );
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE)
    throw new FormatError("bad-bundle", `${what}: the envelope holds ${oneLine(envelope.payloadType)}`);
  return {
    hint: verificationMaterial.publicKey.hint,
    payload: fromBase64(envelope.payload, what),
    signatures: envelope.signatures.map(({ sig }) => fromBase64(sig, what)),
  };
}

/** Members in cosign's order. */
export function encodeBundle({ hint, payload, signatures }: Bundle): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      mediaType: BUNDLE_TYPE,
      verificationMaterial: { publicKey: { hint } },
      dsseEnvelope: {
        payload: toBase64(payload),
        payloadType: STATEMENT_PAYLOAD_TYPE,
        signatures: signatures.map((signature) => ({ sig: toBase64(signature) })),
      },
    }),
  );
}

/** What is signed of an envelope: its payload and type with their lengths (DSSE, protocol.md, PAE). */
export function preAuthenticationEncoding(payload: Uint8Array): Uint8Array {
  const type = STATEMENT_PAYLOAD_TYPE; // ASCII
  return concatBytes(encodeUtf8(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload);
}

/** How cosign names a key: SHA-256 of its SubjectPublicKeyInfo, in base64. */
export function keyHint(id: Digest): string {
  return toBase64(digestBytes(id));
}
