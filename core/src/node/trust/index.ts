export { type CommandSignerOptions, commandSigner } from "./command-signer.ts";
export { writeKeyPair } from "./key-files.ts";
export {
  type AskPassword,
  generateKey,
  type NewKey,
  type NewKeyType,
  nodeVerifier,
  openPrivateKey,
} from "./keys.ts";
export { loadPolicyKey, readPolicy, readPublicKey, usesSigstoreAttachments } from "./policy.ts";
