/** Keys as TUF writes them, from those that `ashlar keygen` makes. */
import { decodeUtf8, encodeUtf8, toHex } from "../../bytes/index.ts";
import { PolicyError, UnsupportedError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { encodePublicKey, type KeyType, type PublicKey, parsePublicKey, type Signer } from "../trust/index.ts";
import type { TufKey } from "./schema.ts";
import type { ChannelSigner } from "./sign.ts";

/** Bytes of an Ed25519 key, the last ones of its SubjectPublicKeyInfo (RFC 8410). */
const ED25519_SIZE = 32;

export function tufKeyOf(key: PublicKey): TufKey {
  const pem = (): string => decodeUtf8(encodePublicKey(key));
  if (key.type === "ed25519")
    return { keytype: "ed25519", scheme: "ed25519", keyval: { public: toHex(key.der.subarray(-ED25519_SIZE)) } };
  if (key.type === "ecdsa-p256") return { keytype: "ecdsa", scheme: "ecdsa-sha2-nistp256", keyval: { public: pem() } };
  return { keytype: "rsa", scheme: "rsassa-pss-sha256", keyval: { public: pem() } };
}

const KEY_TYPES: Readonly<Record<TufKey["keytype"], KeyType>> = { ed25519: "ed25519", ecdsa: "ecdsa-p256", rsa: "rsa" };

/**
 * The same text for the same key, however it is written: TUF's own id is of the text, which case and line breaks change.
 * Errors: PolicyError `channel-key` where it is not of the type that it says, and those of `parsePublicKey`.
 */
export function keyMaterial({ keytype, keyval }: TufKey, hashes: Hashes, what: string): string {
  const bad = () => new PolicyError("channel-key", `${what}: is no ${keytype} key`);
  if (keytype === "ed25519") {
    if (!/^[0-9a-f]{64}$/.test(keyval.public)) throw bad();
    return keyval.public;
  }
  const { type, id } = parsePublicKey(encodeUtf8(keyval.public), hashes, what);
  if (type !== KEY_TYPES[keytype]) throw bad();
  return id;
}

/** Throws UnsupportedError `key-scheme` for an RSA key that cannot make the signatures that TUF has for RSA. */
export function channelSigner({ publicKey, sign, signPss }: Signer): ChannelSigner {
  if (publicKey.type === "rsa" && signPss === undefined)
    throw new UnsupportedError(
      "key-scheme",
      `${publicKey.name}: channels need RSASSA-PSS of an RSA key, this signer has PKCS #1 v1.5 alone`,
    );
  return { key: tufKeyOf(publicKey), sign: (bytes) => (signPss !== undefined ? signPss(bytes) : sign(bytes)) };
}
