/** Private keys: made, read and used with Node's own cryptography (OpenSSL). */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  sign as cryptoSign,
  generateKeyPair as generate,
  type KeyObject,
  randomBytes,
  scrypt,
} from "node:crypto";
import { promisify } from "node:util";
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, PolicyError } from "../../errors/index.ts";
import {
  DEFAULT_KDF,
  ENCRYPTED_KEY_LABELS,
  encodeEncryptedKey,
  encodePem,
  encodePublicKey,
  type PublicKey,
  parseEncryptedKey,
  parsePem,
  publicKeyOf,
  type ScryptParameters,
  type SignatureVerifier,
  type Signer,
  scryptMemory,
  webVerifier,
} from "../../ops/trust/index.ts";
import { nodeHashes } from "../hashes.ts";

/** Web Crypto of Node, which is that of browsers too. */
export const nodeVerifier: SignatureVerifier = /* @__PURE__ */ webVerifier(globalThis.crypto.subtle);

/** Asked only where a key is encrypted; undefined where nobody knows it. */
export type AskPassword = (what: string) => Promise<Uint8Array | undefined>;

const SALT_SIZE = 32;
const NONCE_SIZE = 24;
const ENCRYPTED_PKCS8 = "ENCRYPTED PRIVATE KEY";

const generateKeys = /* @__PURE__ */ promisify(generate) as (
  type: string,
  options: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;
const derive = /* @__PURE__ */ promisify(scrypt) as (
  password: Uint8Array,
  salt: Uint8Array,
  length: number,
  options: object,
) => Promise<Uint8Array>;

function deriveKey(password: Uint8Array, salt: Uint8Array, parameters: ScryptParameters): Promise<Uint8Array> {
  return derive(password, salt, 32, { ...parameters, maxmem: scryptMemory(parameters) + 1024 * 1024 });
}

async function decrypt(bytes: Uint8Array, what: string, password: Uint8Array): Promise<Uint8Array> {
  const { kdf, salt, nonce, ciphertext } = parseEncryptedKey(bytes, what);
  const key = await deriveKey(password, salt, kdf);
  const { xsalsa20poly1305 } = await import("@noble/ciphers/salsa.js"); // few commands open keys
  try {
    return xsalsa20poly1305(Uint8Array.from(key), nonce).decrypt(ciphertext);
  } catch (cause) {
    throw new PolicyError("wrong-password", `${what}: the password is wrong, or the file was changed`, {
      path: what,
      cause,
    });
  }
}

/**
 * The private key of a PEM file: PKCS#8, plain or encrypted (PBES2), or cosign's encrypted form; OpenSSL's older forms
 * too where they are plain. Errors: FormatError `bad-pem`, `bad-key`; UnsupportedError `key-type`, `key-cipher`;
 * PolicyError `no-password`, `wrong-password`.
 */
export async function openPrivateKey(file: Uint8Array, what: string, askPassword: AskPassword): Promise<Signer> {
  const { label, bytes } = parsePem(file, what);
  async function password(): Promise<Uint8Array> {
    const given = await askPassword(what);
    if (given !== undefined) return given;
    throw new PolicyError("no-password", `${what}: is encrypted, and no password was given`, { path: what });
  }
  let key: KeyObject;
  if (ENCRYPTED_KEY_LABELS.includes(label)) key = parsePkcs8(await decrypt(bytes, what, await password()), what);
  else if (label === ENCRYPTED_PKCS8) key = parseEncryptedPkcs8(bytes, what, await password());
  else if (label.endsWith("PRIVATE KEY"))
    key = attempt(what, () => createPrivateKey({ key: Buffer.from(file), format: "pem" }));
  else throw new FormatError("bad-key", `${what}: holds a ${label}, expected a private key`, { path: what });
  return keySigner(key, what);
}

function attempt(what: string, read: () => KeyObject): KeyObject {
  try {
    return read();
  } catch (cause) {
    throw new FormatError("bad-key", `${what}: is no private key`, { path: what, cause });
  }
}

function parsePkcs8(der: Uint8Array, what: string): KeyObject {
  return attempt(what, () => createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" }));
}

function parseEncryptedPkcs8(der: Uint8Array, what: string, password: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8", passphrase: Buffer.from(password) });
  } catch (cause) {
    throw new PolicyError("wrong-password", `${what}: the password is wrong, or the file was changed`, {
      path: what,
      cause,
    });
  }
}

function keySigner(key: KeyObject, name: string): Signer {
  const publicKey = publicHalf(createPublicKey(key as unknown as Parameters<typeof createPublicKey>[0]), name);
  const algorithm = publicKey.type === "ed25519" ? null : "sha256"; // ECDSA comes out in DER, RSA is PKCS#1 v1.5
  return {
    publicKey,
    sign: async (message) => new Uint8Array(cryptoSign(algorithm, message, key)),
    signPss:
      publicKey.type === "rsa" ? async (message) => new Uint8Array(cryptoSign("sha256", message, pss(key))) : undefined,
  };
}

function pss(key: KeyObject) {
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}

function publicHalf(key: KeyObject, name: string): PublicKey {
  return publicKeyOf(new Uint8Array(key.export({ format: "der", type: "spki" })), nodeHashes, name);
}

/** What `ashlar keygen` makes. */
export type NewKeyType = "ecdsa-p256" | "ed25519" | "rsa-3072";

export interface NewKey {
  /** PEM: cosign's encrypted form, or plain PKCS#8 where there is no password. */
  readonly privatePem: Uint8Array;
  readonly publicPem: Uint8Array;
  readonly publicKey: PublicKey;
}

export async function generateKey(type: NewKeyType, password: Uint8Array | undefined, name: string): Promise<NewKey> {
  const pair = await {
    "ecdsa-p256": () => generateKeys("ec", { namedCurve: "P-256" }),
    ed25519: () => generateKeys("ed25519", {}),
    "rsa-3072": () => generateKeys("rsa", { modulusLength: 3072 }),
  }[type]();
  const der = new Uint8Array(pair.privateKey.export({ format: "der", type: "pkcs8" }));
  const publicKey = publicHalf(pair.publicKey, name);
  const privatePem = encodeUtf8(
    password === undefined
      ? encodePem({ label: "PRIVATE KEY", bytes: der })
      : encodePem({ label: ENCRYPTED_KEY_LABELS[0]!, bytes: await encrypt(der, password) }), // a constant list
  );
  return { privatePem, publicPem: encodePublicKey(publicKey), publicKey };
}

async function encrypt(der: Uint8Array, password: Uint8Array): Promise<Uint8Array> {
  const salt = Uint8Array.from(randomBytes(SALT_SIZE));
  const nonce = Uint8Array.from(randomBytes(NONCE_SIZE));
  const key = await deriveKey(password, salt, DEFAULT_KDF);
  const { xsalsa20poly1305 } = await import("@noble/ciphers/salsa.js");
  const ciphertext = xsalsa20poly1305(Uint8Array.from(key), nonce).encrypt(der);
  return encodeEncryptedKey({ kdf: DEFAULT_KDF, salt, nonce, ciphertext });
}
