import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, equalBytes } from "../../bytes/index.ts";
import { digestOf, pureHashes } from "../../hash/index.ts";
import { bytesSource } from "../../source/index.ts";
import { findPieces } from "./pieces.ts";

/** Bytes that differ in every sector. */
function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const parts = [
  concatBytes(new Uint8Array(1024), noise(300_000, 1)), // begins with zeros, as EROFS does
  noise(70_001, 2),
  concatBytes(noise(600, 2), noise(20_000, 3)), // begins as the one before
];
const candidates = parts.map((bytes, name) => ({ name, source: bytesSource(bytes) }));

/** Any mix of candidates, zeros and other bytes; candidates begin at sectors. */
const artifactArbitrary = fc
  .array(
    fc.oneof(
      fc.nat(2).map((index) => ({ index })),
      fc.integer({ min: 1, max: 40_000 }).map((zeros) => ({ zeros })),
      fc
        .tuple(fc.integer({ min: 1, max: 9000 }), fc.nat(50))
        .map(([size, seed]) => ({ other: noise(size, seed + 10) })),
    ),
    { maxLength: 8 },
  )
  .map((list) => {
    const all: Uint8Array[] = [];
    let size = 0;
    const add = (bytes: Uint8Array): void => {
      all.push(bytes);
      size += bytes.length;
    };
    for (const part of list) {
      if ("index" in part) {
        add(new Uint8Array((512 - (size % 512)) % 512));
        add(parts[part.index]!);
      } else add("zeros" in part ? new Uint8Array(part.zeros) : part.other);
    }
    return concatBytes(...all);
  });

test("pieces make the artifact again, without gap or overlap", async () => {
  await fc.assert(
    fc.asyncProperty(artifactArbitrary, async (artifact) => {
      const { pieces, digest } = await findPieces(bytesSource(artifact), candidates, pureHashes);
      assert.equal(digest, digestOf(pureHashes, artifact));
      const made = new Uint8Array(artifact.length);
      let end = 0;
      for (const { from, offset, at, size } of pieces) {
        assert.equal(offset, end);
        assert.ok(size > 0);
        if (from === "literal") made.set(artifact.subarray(offset, offset + size), offset);
        else if (from !== "zeros") made.set(parts[from]!.subarray(at, at + size), offset);
        end += size;
      }
      assert.equal(end, artifact.length);
      assert.ok(equalBytes(made, artifact));
    }),
    { numRuns: 60 },
  );
});

test("a candidate that stands at a sector is found whole", async () => {
  for (const [index, part] of parts.entries()) {
    const artifact = concatBytes(
      noise(512 * 9, 7),
      new Uint8Array(512 * 40),
      part,
      new Uint8Array(100_000),
      noise(513, 8),
    );
    const { pieces } = await findPieces(bytesSource(artifact), candidates, pureHashes);
    const literal = pieces.filter(({ from }) => from === "literal").reduce((sum, { size }) => sum + size, 0);
    assert.ok(literal <= 512 * 9 + 513 + 512, `${literal} literal bytes with candidate ${index}`);
    assert.ok(pieces.some(({ from }) => from === index));
  }
});
