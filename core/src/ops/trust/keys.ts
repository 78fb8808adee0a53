/** Public keys: SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) in PEM, of the three kinds that signatures are made with. */
import { encodeUtf8, oneLine, toHex } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { DER, derReader, derUnsigned } from "./der.ts";
import { MAX_RSA_BITS, MIN_RSA_BITS } from "./format.ts";
import { encodePem, parsePem } from "./pem.ts";

/**
 * Each has one way of signing, cosign's: ECDSA with SHA-256, the signature in DER; Ed25519 of the message itself (not
 * Ed25519ph); RSASSA-PKCS1-v1_5 with SHA-256.
 */
export type KeyType = "ecdsa-p256" | "ed25519" | "rsa";

export interface PublicKey {
  readonly type: KeyType;
  /** Of an RSA modulus. */
  readonly bits: number | undefined;
  /** SubjectPublicKeyInfo. */
  readonly der: Uint8Array;
  /** Digest of {@link der}: what names the key everywhere. */
  readonly id: Digest;
  /** For people: the file it came from. */
  readonly name: string;
}

/** Signs; the private key is somewhere behind it. */
export interface Signer {
  readonly publicKey: PublicKey;
  sign(message: Uint8Array, options?: ReadOptions): Promise<Uint8Array>;
  /** RSASSA-PSS with SHA-256 and a salt as long as the hash: what TUF asks of RSA keys. Only where a signer can. */
  readonly signPss?: ((message: Uint8Array) => Promise<Uint8Array>) | undefined;
}

const OID = {
  ecPublicKey: "2a8648ce3d0201", // 1.2.840.10045.2.1
  prime256v1: "2a8648ce3d030107", // 1.2.840.10045.3.1.7
  ed25519: "2b6570", // 1.3.101.112
  rsaEncryption: "2a864886f70d010101", // 1.2.840.113549.1.1.1
} as const;

/** Errors: FormatError `bad-pem`, `bad-key`, `bad-der`, `bad-base64`; UnsupportedError `key-type`. */
export function parsePublicKey(bytes: Uint8Array, hashes: Hashes, name: string): PublicKey {
  const { label, bytes: der } = parsePem(bytes, name);
  if (label !== "PUBLIC KEY")
    throw new UnsupportedError("key-type", `${name}: holds a ${oneLine(label)}, expected a PUBLIC KEY`, {
      path: name,
      expected: "PUBLIC KEY",
      actual: label,
    });
  return publicKeyOf(der, hashes, name);
}

/** The key of a SubjectPublicKeyInfo, of which each key has one form: equal ids are equal keys. Errors as {@link parsePublicKey}. */
export function publicKeyOf(der: Uint8Array, hashes: Hashes, name: string): PublicKey {
  const whole = derReader(der, name);
  const info = derReader(whole.next(DER.sequence), name);
  const algorithm = derReader(info.next(DER.sequence), name);
  const bits = info.next(DER.bitString);
  if (!whole.isAtEnd || !info.isAtEnd || bits[0] !== 0)
    throw new FormatError("bad-key", `${name}: is no public key: something follows it`);
  const kind = kindOf(algorithm, bits.subarray(1), name);
  return { ...kind, der, id: digestOf(hashes, der), name };
}

function kindOf(algorithm: ReturnType<typeof derReader>, key: Uint8Array, name: string) {
  const oid = toHex(algorithm.next(DER.oid));
  const fail = (message: string): never => {
    throw new FormatError("bad-key", `${name}: ${message}`);
  };
  if (oid === OID.ed25519) {
    if (key.length !== 32 || !algorithm.isAtEnd) fail(`an Ed25519 key has 32 bytes, this one ${key.length}`);
    return { type: "ed25519", bits: undefined } as const;
  }
  if (oid === OID.ecPublicKey) {
    const curve = toHex(algorithm.next(DER.oid));
    if (curve !== OID.prime256v1)
      throw new UnsupportedError("key-type", `${name}: is on another curve than P-256, which is not supported`);
    if (key.length !== 65 || key[0] !== 4 || !algorithm.isAtEnd) fail("the point is compressed or has the wrong size");
    return { type: "ecdsa-p256", bits: undefined } as const;
  }
  if (oid === OID.rsaEncryption) {
    if (algorithm.next(DER.null).length > 0 || !algorithm.isAtEnd) fail("its algorithm has parameters"); // RFC 3279, 2.3.1
    const whole = derReader(key, name);
    const pair = derReader(whole.next(DER.sequence), name);
    const modulus = derUnsigned(pair.next(DER.integer), name);
    const bits = modulus.length === 0 ? 0 : 8 * modulus.length - (Math.clz32(modulus[0]!) - 24);
    derUnsigned(pair.next(DER.integer), name);
    if (!whole.isAtEnd || !pair.isAtEnd) fail("something follows the modulus and exponent");
    if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
      throw new UnsupportedError(
        "key-type",
        `${name}: an RSA key of ${bits} bits, supported are ${MIN_RSA_BITS} to ${MAX_RSA_BITS}`,
      );
    return { type: "rsa", bits } as const;
  }
  throw new UnsupportedError("key-type", `${name}: is neither an ECDSA P-256, nor an Ed25519, nor an RSA key`);
}

export function encodePublicKey({ der }: Pick<PublicKey, "der">): Uint8Array {
  return encodeUtf8(encodePem({ label: "PUBLIC KEY", bytes: der }));
}

/** `ECDSA P-256 key cosign.pub (sha256:…)`, for people. */
export function describeKey({ name, type, bits, id }: PublicKey): string {
  const kind = { "ecdsa-p256": "ECDSA P-256", ed25519: "Ed25519", rsa: `RSA ${bits}` }[type];
  return `${kind} key ${name} (${id.slice(0, "sha256:".length + 12)})`;
}
