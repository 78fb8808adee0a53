/** Digests, and the port through which a host lends its hash functions. */
import { fromHex, toHex } from "../bytes/index.ts";
import { FormatError, IntegrityError, UnsupportedError } from "../errors/index.ts";

export type HashAlgorithm = "sha256" | "sha512";

/** Bytes of a digest. */
export const DIGEST_SIZES: Readonly<Record<HashAlgorithm, number>> = { sha256: 32, sha512: 64 };

/** A running hash. `digest` ends it. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

/** Synchronous hash functions; the host's native ones, or `pureHashes`. */
export interface Hashes {
  create(algorithm: HashAlgorithm): Hasher;
  hash(algorithm: HashAlgorithm, bytes: Uint8Array): Uint8Array;
  /** As `hash`, and the digest is written to `target` from `at` on: for those who hash block by block. */
  hashInto?(algorithm: HashAlgorithm, bytes: Uint8Array, target: Uint8Array, at: number): void;
}

/** In the host's own way, where it has one. */
export function hashInto(
  hashes: Hashes,
  algorithm: HashAlgorithm,
  bytes: Uint8Array,
  target: Uint8Array,
  at: number,
): void {
  if (hashes.hashInto === undefined) target.set(hashes.hash(algorithm, bytes), at);
  else hashes.hashInto(algorithm, bytes, target, at);
}

/** `algorithm:hex` as OCI writes it (image-spec, descriptor.md, Digests). */
export type Digest = `${HashAlgorithm}:${string}`;

/** Throws UnsupportedError `digest-algorithm` for a well-formed digest of another algorithm, FormatError for the rest. */
export function parseDigest(text: string): Digest {
  const match = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/.exec(text);
  if (match === null) throw new FormatError("bad-digest", `not a digest: ${JSON.stringify(text.slice(0, 100))}`);
  const [, algorithm, encoded] = match as unknown as [string, string, string];
  if (algorithm !== "sha256" && algorithm !== "sha512")
    throw new UnsupportedError("digest-algorithm", `digest algorithm ${algorithm} is not implemented`);
  if (encoded.length !== 2 * DIGEST_SIZES[algorithm] || !/^[0-9a-f]*$/.test(encoded))
    throw new FormatError("bad-digest", `not a ${algorithm} digest: ${JSON.stringify(text.slice(0, 160))}`);
  return text as Digest;
}

export function digestAlgorithm(digest: Digest): HashAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

export function digestBytes(digest: Digest): Uint8Array {
  return fromHex(digest.slice(digest.indexOf(":") + 1));
}

export function formatDigest(algorithm: HashAlgorithm, bytes: Uint8Array): Digest {
  return `${algorithm}:${toHex(bytes)}`;
}

export function digestOf(hashes: Hashes, bytes: Uint8Array, algorithm: HashAlgorithm = "sha256"): Digest {
  return formatDigest(algorithm, hashes.hash(algorithm, bytes));
}

/** Throws IntegrityError `digest-mismatch` naming `what`. */
export function assertDigest(actual: Digest, expected: Digest, what: string): void {
  if (actual !== expected)
    throw new IntegrityError("digest-mismatch", `${what}: digest is ${actual}, expected ${expected}`, {
      path: what,
      expected,
      actual,
    });
}

/** What identifies the hash of one block: `H(salt ‖ block)`, dm-verity hash type 1. */
export interface BlockHashParameters {
  readonly algorithm: HashAlgorithm;
  /** At most 256 bytes. */
  readonly salt: Uint8Array;
  /** Bytes. */
  readonly blockSize: number;
}

/**
 * Hashes many blocks at once; the host may spread them over workers.
 * `blocks` holds a whole number of blocks and must not change until the promise settles; calls may overlap.
 * The result is the digests one after the other, without padding.
 */
export interface BlockHasher {
  hashBlocks(blocks: Uint8Array, parameters: BlockHashParameters): Promise<Uint8Array>;
}

/** A {@link BlockHasher} on the calling thread, from any {@link Hashes}. */
export function inlineBlockHasher(hashes: Hashes): BlockHasher {
  return {
    async hashBlocks(blocks, { algorithm, salt, blockSize }) {
      const digestSize = DIGEST_SIZES[algorithm];
      const digests = new Uint8Array((blocks.length / blockSize) * digestSize);
      const salted = new Uint8Array(salt.length + blockSize);
      salted.set(salt);
      for (let at = 0, out = 0; at < blocks.length; at += blockSize, out += digestSize) {
        salted.set(blocks.subarray(at, at + blockSize), salt.length);
        hashInto(hashes, algorithm, salted, digests, out);
      }
      return digests;
    },
  };
}
