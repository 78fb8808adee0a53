/** Values that all releases of a product share: salts, UUIDs and ids that the root hash does not give. */
import { encodeUtf8, type Uuid, uuidFromHash } from "../../bytes/index.ts";
import type { Hashes } from "../../hash/index.ts";

/** A value that every release of a product shares: 32 bytes from the product's id and a purpose. */
export function productSeed(hashes: Hashes, imageId: string, purpose: string): Uint8Array {
  return hashes.hash("sha256", encodeUtf8(`ashlar\0${purpose}\0${imageId}`));
}

/** A UUID that every release of a product shares. */
export function productUuid(hashes: Hashes, imageId: string, purpose: string): Uuid {
  return uuidFromHash(productSeed(hashes, imageId, purpose));
}
