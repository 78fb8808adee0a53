/** Node's own hash functions (OpenSSL) and checksum behind the core's ports. */
import crypto from "node:crypto";
import zlib from "node:zlib";
import type { Hashes } from "../hash/index.ts";

/** The same bytes as a plain Uint8Array: a Buffer's `slice` is a view, which breaks who copies before changing. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** zlib's, with vector instructions: 6 GB/s and more. */
export const nodeCrc32: (bytes: Uint8Array, previous: number) => number = zlib.crc32;

export const nodeHashes: Hashes = {
  create(algorithm) {
    const state = crypto.createHash(algorithm);
    return {
      update(bytes) {
        state.update(bytes);
      },
      digest: () => plain(state.digest()),
    };
  },
  // The one-shot form saves the hash object: about a fifth on 4 KiB inputs.
  hash: (algorithm, bytes) => plain(crypto.hash(algorithm, bytes, "buffer")),
  // A string costs less than a Buffer: 2.5 instead of 3.3 µs for 4 KiB all told, of which OpenSSL takes 2.2 (measured).
  hashInto(algorithm, bytes, target, at) {
    const digest = crypto.hash(algorithm, bytes, "binary"); // Latin-1
    for (let i = 0; i < digest.length; i++) target[at + i] = digest.charCodeAt(i);
  },
};
