/**
 * cosign's encrypted private key: JSON in PEM that names a key derivation and a cipher (go-securesystemslib,
 * encrypted/encrypted.go). What is inside is PKCS#8.
 */
import * as v from "valibot";
import { encodeUtf8, fromBase64, toBase64 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";

/** In PEM; the older name is only read. */
export const ENCRYPTED_KEY_LABELS: readonly string[] = [
  "ENCRYPTED SIGSTORE PRIVATE KEY",
  "ENCRYPTED COSIGN PRIVATE KEY",
];

/** What cosign writes since 2.0. */
export const DEFAULT_KDF: ScryptParameters = { N: 65536, r: 8, p: 1 };
/** Bytes that a derivation may take: a file must not be able to use up the machine. */
const MAX_KDF_MEMORY = 512 * 1024 * 1024;
const MAX_PARALLEL = 16;

export interface ScryptParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** Bytes that a derivation works in. */
export function scryptMemory({ N, r, p }: ScryptParameters): number {
  return 128 * r * (N + p + 2);
}

export interface EncryptedKey {
  readonly kdf: ScryptParameters;
  readonly salt: Uint8Array;
  /** 24 bytes. */
  readonly nonce: Uint8Array;
  /** NaCl's secretbox: 16 bytes of Poly1305, then what XSalsa20 made. */
  readonly ciphertext: Uint8Array;
}

const Parameter = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const RawEncryptedKey = v.looseObject({
  kdf: v.looseObject({
    name: v.string(),
    params: v.looseObject({ N: Parameter, r: Parameter, p: Parameter }),
    salt: v.string(),
  }),
  cipher: v.looseObject({ name: v.string(), nonce: v.string() }),
  ciphertext: v.string(),
});

/** Errors: FormatError `bad-json`, `bad-key`, `bad-base64`; UnsupportedError `key-cipher`. */
export function parseEncryptedKey(bytes: Uint8Array, what: string): EncryptedKey {
  const { kdf, cipher, ciphertext } = checkDocument(RawEncryptedKey, parseDocument(bytes, what), "bad-key", what);
  if (kdf.name !== "scrypt" || cipher.name !== "nacl/secretbox")
    throw new UnsupportedError("key-cipher", `${what}: is encrypted otherwise than with scrypt and nacl/secretbox`);
  const { N, r, p } = kdf.params;
  const isN = Number.isInteger(Math.log2(N)) && N >= 2 && Math.log2(N) < 16 * r; // RFC 7914, 2
  if (!isN || scryptMemory({ N, r, p }) > MAX_KDF_MEMORY || p > MAX_PARALLEL)
    throw new UnsupportedError("key-cipher", `${what}: scrypt with N=${N}, r=${r}, p=${p} is not supported`);
  const nonce = fromBase64(cipher.nonce, what);
  if (nonce.length !== 24) throw new FormatError("bad-key", `${what}: the nonce has ${nonce.length} bytes, not 24`);
  return { kdf: { N, r, p }, salt: fromBase64(kdf.salt, what), nonce, ciphertext: fromBase64(ciphertext, what) };
}

export function encodeEncryptedKey({ kdf, salt, nonce, ciphertext }: EncryptedKey): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      kdf: { name: "scrypt", params: kdf, salt: toBase64(salt) },
      cipher: { name: "nacl/secretbox", nonce: toBase64(nonce) },
      ciphertext: toBase64(ciphertext),
    }),
  );
}
