/**
 * The port through which signatures are checked, and the one implementation that every host has: Web Crypto, which
 * browsers, Node, Deno and Bun share. So a browser checks with the same code that the command does. It is asynchronous,
 * which does not hurt: there are a few signatures, not millions of blocks.
 */
import { FormatError } from "../../errors/index.ts";
import { ecdsaFromDer } from "./der.ts";
import { MAX_SIGNATURE_SIZE } from "./format.ts";
import type { KeyType, PublicKey } from "./keys.ts";

export interface SignatureVerifier {
  /** Whether it is this key's signature of the message; false also for what is no signature at all. */
  verify(key: PublicKey, message: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** What is used of the host's `crypto.subtle`. */
export interface WebCrypto<Key> {
  importKey(
    format: "spki",
    der: Uint8Array<ArrayBuffer>,
    algorithm: { readonly name: string },
    extractable: boolean,
    usages: "verify"[],
  ): Promise<Key>;
  verify(
    algorithm: { readonly name: string; readonly hash: string },
    key: Key,
    signature: Uint8Array<ArrayBuffer>,
    message: Uint8Array<ArrayBuffer>,
  ): Promise<boolean>;
}

const ALGORITHMS: Readonly<
  Record<KeyType, { readonly name: string; readonly hash: string; readonly namedCurve: string }>
> = {
  "ecdsa-p256": { name: "ECDSA", hash: "SHA-256", namedCurve: "P-256" },
  ed25519: { name: "Ed25519", hash: "", namedCurve: "" },
  rsa: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", namedCurve: "" },
};

/** @param subtle `globalThis.crypto.subtle` of the host */
export function webVerifier<Key>(subtle: WebCrypto<Key>): SignatureVerifier {
  return {
    async verify(publicKey, message, signature) {
      const algorithm = ALGORITHMS[publicKey.type];
      const key = await subtle
        .importKey("spki", Uint8Array.from(publicKey.der), algorithm, true, ["verify"])
        .catch((cause: unknown) => {
          throw new FormatError("bad-key", `${publicKey.name}: is no public key`, { cause });
        });
      if (signature.length > MAX_SIGNATURE_SIZE) return false;
      const plain = publicKey.type === "ecdsa-p256" ? ecdsaFromDer(signature, 32) : signature;
      return plain !== undefined && subtle.verify(algorithm, key, Uint8Array.from(plain), Uint8Array.from(message));
    },
  };
}
