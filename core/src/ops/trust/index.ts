export { type Admitted, admissionBy, type Trust } from "./admission.ts";
export {
  type Attachment,
  type Found,
  readBundles,
  readClassic,
  type SignatureForm,
  signatureTag,
  type TrustEnvironment,
  type Unreadable,
  writeBundle,
  writeClassic,
} from "./attachments.ts";
export { encodeBundle, keyHint, parseBundle, preAuthenticationEncoding } from "./bundle.ts";
export { ecdsaToDer } from "./der.ts";
export {
  DEFAULT_KDF,
  ENCRYPTED_KEY_LABELS,
  type EncryptedKey,
  encodeEncryptedKey,
  parseEncryptedKey,
  type ScryptParameters,
  scryptMemory,
} from "./encrypted-key.ts";
export { BUNDLE_TYPE, MAX_KEY_SIZE, PROVENANCE_PREDICATE, SIGN_PREDICATE } from "./format.ts";
export {
  describeKey,
  encodePublicKey,
  type KeyType,
  type PublicKey,
  parsePublicKey,
  publicKeyOf,
  type Signer,
} from "./keys.ts";
export { type IdentityRule, type ImageName, nameRefusal, parseImageName, showName } from "./names.ts";
export { encodePem, type PemBlock, parsePem } from "./pem.ts";
export {
  dockerScopes,
  type KeySource,
  type Policy,
  type PolicyHost,
  parsePolicy,
  pathScopes,
  type Requirement,
  requirementsFor,
  verifyRequirements,
} from "./policy.ts";
export {
  assertProvenance,
  type Provenance,
  type ProvenanceSubject,
  parseProvenance,
  provenanceOf,
} from "./provenance.ts";
export { attachStatement, type SignOptions, type SignResult, signDigest } from "./sign.ts";
export { encodeSimpleSigning, parseSimpleSigning, type SimpleSigning } from "./simple-signing.ts";
export { digestSet, encodeStatement, parseStatement, type Statement, type Subject } from "./statement.ts";
export { type SignatureVerifier, type WebCrypto, webVerifier } from "./verifier.ts";
export {
  type AcceptedSignature,
  type SignatureRule,
  type Signed,
  verifySignature,
  verifyStatement,
} from "./verify.ts";
