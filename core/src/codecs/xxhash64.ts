/** XXH64 with seed 0, as far as zstd's checksum needs it. Spec: xxhash_spec.md, revision 0.1.1. */

const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME_3 = 0x165667b19e3779f9n;
const PRIME_4 = 0x85ebca77c2b2ae63n;
const PRIME_5 = 0x27d4eb2f165667c5n;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => wrap((value << bits) | (value >> (64n - bits)));
const round = (sum: bigint, lane: bigint): bigint => wrap(rotate(wrap(sum + lane * PRIME_2), 31n) * PRIME_1);
const merge = (hash: bigint, sum: bigint): bigint => wrap((hash ^ round(0n, sum)) * PRIME_1 + PRIME_4);

/** The low 32 bits of the hash. Slow (big integers): checksums are rare in what is decompressed in blocks. */
export function xxHash64Low(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  let hash: bigint;
  if (bytes.length >= 32) {
    let sum1 = wrap(PRIME_1 + PRIME_2);
    let sum2 = PRIME_2;
    let sum3 = 0n;
    let sum4 = wrap(-PRIME_1);
    for (; at + 32 <= bytes.length; at += 32) {
      sum1 = round(sum1, view.getBigUint64(at, true));
      sum2 = round(sum2, view.getBigUint64(at + 8, true));
      sum3 = round(sum3, view.getBigUint64(at + 16, true));
      sum4 = round(sum4, view.getBigUint64(at + 24, true));
    }
    hash = wrap(rotate(sum1, 1n) + rotate(sum2, 7n) + rotate(sum3, 12n) + rotate(sum4, 18n));
    hash = merge(merge(merge(merge(hash, sum1), sum2), sum3), sum4);
  } else hash = PRIME_5;
  hash = wrap(hash + BigInt(bytes.length));
  for (; at + 8 <= bytes.length; at += 8)
    hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * PRIME_1 + PRIME_4);
  for (; at + 4 <= bytes.length; at += 4)
    hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * PRIME_1), 23n) * PRIME_2 + PRIME_3);
  for (; at < bytes.length; at++) hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint8(at)) * PRIME_5), 11n) * PRIME_1);
  hash = wrap((hash ^ (hash >> 33n)) * PRIME_2);
  hash = wrap((hash ^ (hash >> 29n)) * PRIME_3);
  return Number((hash ^ (hash >> 32n)) & 0xffffffffn);
}
