/** Keys as TUF writes them, from those that `ashlar keygen` makes. */
import { decodeUtf8, toHex } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { encodePublicKey, type PublicKey, type Signer } from "../trust/index.ts";
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

/** Throws UnsupportedError `key-scheme` for an RSA key that cannot make the signatures that TUF has for RSA. */
export function channelSigner({ publicKey, sign, signPss }: Signer): ChannelSigner {
  if (publicKey.type === "rsa" && signPss === undefined)
    throw new UnsupportedError(
      "key-scheme",
      `${publicKey.name}: channels need RSASSA-PSS of an RSA key, this signer has PKCS #1 v1.5 alone`,
    );
  return { key: tufKeyOf(publicKey), sign: (bytes) => (signPss !== undefined ? signPss(bytes) : sign(bytes)) };
}
