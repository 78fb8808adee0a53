export { ecdsaToDer } from "./der.ts";
export {
  DEFAULT_KDF,
  ENCRYPTED_KEY_LABELS,
  type EncryptedKey,
  encodeEncryptedKey,
  parseEncryptedKey,
  type ScryptParameters,
} from "./encrypted-key.ts";
export { MAX_KEY_SIZE } from "./format.ts";
export {
  describeKey,
  encodePublicKey,
  type KeyType,
  type PublicKey,
  parsePublicKey,
  publicKeyOf,
  type Signer,
} from "./keys.ts";
export { encodePem, type PemBlock, parsePem } from "./pem.ts";
export { type SignatureVerifier, type WebCrypto, webVerifier } from "./verifier.ts";
