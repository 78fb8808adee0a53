/** The inner loop of block hashing: shared by the worker and by the calling thread. */
import crypto from "node:crypto";
import type { BlockHashParameters } from "../hash/index.ts";

/** With the size of a digest in bytes: looking it up would load a dozen modules into each worker, a third of its start. */
export type HashLoopParameters = BlockHashParameters & { readonly digestSize: number };

/**
 * Hashes whole blocks in place: `region` has room for the salt, `headroom` bytes, ahead of its first block, and the salt
 * of each later block overwrites the end of the block before it, which is hashed by then. So nothing is copied, and
 * `region` is worthless afterwards. A `latin1` string made by the one-shot `crypto.hash` and written into `digests` costs
 * 2.5 µs a block of 4 KiB all told, a Buffer a block 3.0 µs (Node 24.21, SHA-NI).
 */
export function hashInPlace(
  region: Uint8Array<ArrayBufferLike>,
  headroom: number,
  blocks: number,
  { algorithm, salt, blockSize, digestSize }: HashLoopParameters,
  digests: Buffer,
): void {
  for (let i = 0, at = headroom; i < blocks; i++, at += blockSize) {
    const start = at - salt.length;
    if (salt.length > 0) region.set(salt, start);
    digests.write(crypto.hash(algorithm, region.subarray(start, at + blockSize), "binary"), i * digestSize, "latin1");
  }
}
