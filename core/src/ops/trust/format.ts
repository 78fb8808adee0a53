/**
 * Names and limits of signatures in repositories.
 * Sources: cosign's SIGNATURE_SPEC and BUNDLE_SPEC, containers-signature(5) for the payload, sigstore's protobuf-specs
 * (bundle v0.3), in-toto's DSSE 1.0 and Statement v1, and what cosign 2.6 and 3.1 write.
 */

/** Classic: a layer of the manifest that `sha256-HEX.sig` names is one payload, its annotation the signature of it. */
export const SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json";
export const SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";
export const SIMPLE_SIGNING_CLAIM = "cosign container image signature";

/** Bundle: artifactType of the referring manifest, and media type of its layer and of the document itself. */
export const BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";
export const BUNDLE_CONTENT_ANNOTATION = "dev.sigstore.bundle.content";
export const BUNDLE_CONTENT_DSSE = "dsse-envelope";
export const PREDICATE_TYPE_ANNOTATION = "dev.sigstore.bundle.predicateType";

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
export const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

export const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";
export const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
/** The predicate that says no more than: this was signed. */
export const SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1";
export const PROVENANCE_PREDICATE = "https://slsa.dev/provenance/v1";

/** Signatures of one form that are looked at; a repository that holds more of one thing is not one of honest people. */
export const MAX_SIGNATURES = 64;
/** Bytes of a key file. */
export const MAX_KEY_SIZE = 64 * 1024;
/** Bytes of a signature: RSA with 4096 bits has 512. */
export const MAX_SIGNATURE_SIZE = 1024;
/** Bits of an RSA modulus. */
export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 4096;
