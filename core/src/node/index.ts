export { openArtifacts } from "./artifacts.ts";
export { createBlockHasher } from "./block-hasher.ts";
export { type CommandSignerOptions, commandSigner } from "./command-signer.ts";
export { nodeCompressors } from "./compress.ts";
export { nodeDecompressors } from "./decompress.ts";
export { decompressFrame } from "./decompress-frame.ts";
export { type Extracted, extractTree } from "./extract.ts";
export { createFile, type OpenSource, openFile } from "./files.ts";
export { createFrameCompressor } from "./frame-compressor.ts";
export { nodeHashes } from "./hashes.ts";
export { nodeFiles } from "./host-files.ts";
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
export { type LocationOptions, type OpenedLocation, openLocation } from "./registry/locations.ts";
export { openRegistries, type Registries, type RegistriesOptions } from "./registry/registries.ts";
export { fileScratch } from "./scratch.ts";
export { tufVerifier } from "./tuf.ts";
