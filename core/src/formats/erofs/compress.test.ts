import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8 } from "../../bytes/index.ts";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { loadFrameMaker } from "../../node/zstd-frame-maker.ts";
import { bytesSource, memorySink } from "../../source/index.ts";
import { attributes, type Directory, directory, type Node, regularFile } from "../../tree/index.ts";
import { type Compression, checkErofs, openErofs, readTree, type WriteErofsOptions, writeErofs } from "./index.ts";
import { describeTree, patternBytes, tree } from "./trees.test.ts";

const encoder = inlineClusterEncoder(loadFrameMaker);

const compression: fc.Arbitrary<Compression> = fc
  .tuple(
    fc.constantFrom(
      { algorithm: "lz4" as const, level: 1 },
      { algorithm: "lz4hc" as const, level: 5 },
      { algorithm: "zstd" as const, level: 3 },
      { algorithm: "zstd" as const, level: 3, packing: "bytes" as const },
    ),
    fc.constantFrom(1, 1, 2, 5, 16, 256),
  )
  .map(([method, blocks]) => ({ ...method, clusterSize: blocks * 4096, encoder }));

/** Some of each: runs, few letters, all letters. */
const content = fc
  .array(
    fc
      .tuple(fc.integer({ min: 1, max: 40_000 }), fc.constantFrom(1, 3, 17, 256), fc.nat())
      .map(([size, letters, seed]) => {
        const bytes = new Uint8Array(size);
        let state = seed | 1;
        for (let i = 0; i < size; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          bytes[i] = (state >>> 16) % letters;
        }
        return bytes;
      }),
    { minLength: 1, maxLength: 5 },
  )
  .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])));

type Tails = NonNullable<WriteErofsOptions["tails"]>;

async function assertRoundTrip(original: Directory, how: Compression, tails: Tails): Promise<void> {
  const sink = memorySink();
  const { size } = await writeErofs(original, sink, { compression: how, tails });
  assert.equal(sink.bytes().length, size);
  const source = bytesSource(sink.bytes());
  assert.deepEqual(await describeTree(await readTree(await openErofs(source))), await describeTree(original));
  assert.deepEqual(await checkErofs(source), []);
}

test("tree → compressed image → tree is the identity, and the image has no findings", async () => {
  await fc.assert(
    fc.asyncProperty(
      tree,
      fc.array(content, { maxLength: 4 }),
      compression,
      fc.constantFrom<Tails>("blocks", "inline", "ztailpacking", "fragments"),
      async (original, contents, how, tails) => {
        for (const [i, bytes] of contents.entries()) {
          const name = fromUtf8(`content ${i}`);
          if (!original.entries.has(name))
            original.entries.set(name, regularFile(attributes(0o644), bytesSource(bytes)));
        }
        await assertRoundTrip(original, how, tails);
      },
    ),
    { numRuns: 120 },
  );
});

test("maps of every length, behind inodes and xattrs of every alignment", async () => {
  for (const [clusterSize, tails, step] of [
    [4096, "blocks", 1],
    [16384, "blocks", 1],
    [4096, "ztailpacking", 3],
    [16384, "fragments", 3],
  ] as const) {
    const entries: [string, Node][] = [];
    for (let parts = 1; parts < 40; parts += step)
      for (const xattr of [undefined, 30]) {
        const xattrs = new Map(xattr === undefined ? [] : [[fromUtf8("user.a"), new Uint8Array(xattr).fill(parts)]]);
        const bytes = patternBytes(parts * 4096 - (parts % 7) * 300, parts).map((byte, i) => (i % 3 === 0 ? byte : 0));
        entries.push([`${parts}-${xattr}`, regularFile(attributes(0o644, { xattrs }), bytesSource(bytes))]);
      }
    const root = directory(
      attributes(0o755),
      entries.map(([name, node]) => [fromUtf8(name), node] as const),
    );
    await assertRoundTrip(root, { algorithm: "lz4", level: 1, clusterSize, encoder }, tails);
  }
});

/** Pairs of the first byte of a cluster and whether it is plain. */
async function clustersOf(content: Uint8Array, { algorithm, level, clusterSize }: Compression) {
  const slot = await encoder.take();
  slot.input.set(content);
  const encoding = { algorithm, level, clusterSize, blockSize: 4096, packing: "blocks" as const };
  const { extents } = await slot.encode([{ at: 0, size: content.length }], encoding);
  const found: { readonly start: number; readonly isPlain: boolean }[] = [];
  for (let i = 0, start = 0; i < extents.length; start += extents[i]!, i += 2)
    found.push({ start, isPlain: (extents[i + 1]! & 1) === 0 });
  slot.release();
  return found;
}

test("a plain end starts in the part of the content that it ends in, or Linux calls the file corrupt", async () => {
  // As random tree "1 kernel 9 87" of test/oracle: behind what compresses to no whole part stand whole blocks of noise.
  const content = new Uint8Array(400_000);
  for (let i = 0, state = 1; i < content.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    content[i] = (state >>> 24) & (i < 100_000 ? 3 : 255);
  }
  for (const method of [
    { algorithm: "lz4", level: 1 },
    { algorithm: "lz4hc", level: 5 },
    { algorithm: "zstd", level: 3 },
  ] as const)
    for (const clusterSize of [4096, 65536]) {
      const compression = { ...method, clusterSize, encoder };
      const first = (await clustersOf(content, compression)).find(({ isPlain }) => isPlain);
      assert.ok(first !== undefined && first.start % 4096 !== 0, "content that shows nothing");
      for (let blocks = 1; blocks < 6; blocks++)
        for (const more of [0, 1, 4095]) {
          const size: number = first.start + blocks * 4096 + more;
          const { start, isPlain } = (await clustersOf(content.subarray(0, size), compression)).at(-1)!; // there is one
          if (isPlain) assert.equal(Math.floor(start / 4096), Math.floor((size - 1) / 4096), `${size}`);
        }
    }
});
