// Contents at every boundary that compression has, and trees of them.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, type Directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import { sampleTree } from "./erofs-images.ts";

/** Bytes that compress by about a half: words over words. */
export function text(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed | 1;
  for (let at = 0; at < size; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const word = state >>> 22;
    for (let i = 0; i < 3 + (word & 7) && at < size; i++) bytes[at++] = (Math.imul(word, 0x9e3779b1) >>> (i * 3)) & 255;
  }
  return bytes;
}

/** What cannot be compressed. */
export function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0, i = 0; at < size; at += 64, i++)
    bytes.set(
      createHash("sha512")
        .update(`${seed}:${i}`)
        .digest()
        .subarray(0, size - at),
      at,
    );
  return bytes;
}

/** Bytes; near the most that is encoded at once. */
const LARGE: readonly number[] = [4 << 20, (4 << 20) + 1, (4 << 20) - 1, (9 << 20) + 777];

/** The usual samples, and contents at every boundary that compression has. */
export function compressibleTree(seed: number, { large = LARGE } = {}): Directory {
  const root = sampleTree(seed, { names: 50 });
  const put = (path: string, content: Uint8Array): void =>
    putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(content)));
  for (let i = 0; i < 200; i++) put(`near/${i}`, text(4096 * (i % 40) + ((i * 37) % 90) - 45 + 4096, i));
  for (let i = 0; i < 60; i++) put(`mixed/${i}`, mixed(i));
  for (const size of large) {
    put(`large/text-${size}`, text(size, size));
    put(`large/noise-${size}`, noise(size, size));
    put(`large/zeros-${size}`, new Uint8Array(size));
  }
  for (let i = 0; i < 40; i++) put(`equal/${i}`, text(20_000 + (i % 4), 5));
  return root;
}

/** Compressible and incompressible parts in turn, cut anywhere. */
function mixed(seed: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [i, size] of fc.sample(fc.integer({ min: 1, max: 30_000 }), { seed, numRuns: 8 }).entries())
    parts.push(i % 2 === seed % 2 ? text(size, seed + i) : noise(size, seed + i));
  return Uint8Array.from(Buffer.concat(parts));
}
