// Our compressed EROFS images against fsck.erofs and the kernel's mount.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { type ClusterEncoder, inlineClusterEncoder } from "../../core/src/codecs/index.ts";
import { type Compression, checkErofs } from "../../core/src/formats/erofs/index.ts";
import { createClusterEncoder } from "../../core/src/node/index.ts";
import { loadFrameMaker } from "../../core/src/node/zstd-wasm.ts";
import { verifyRoot } from "../../core/src/ops/seal/verify-root.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import {
  assertSame,
  expected,
  fileSource,
  folder,
  requireMount,
  sampleTree,
  seenByKernel,
  withMount,
  writeImage,
} from "../support/erofs-images.ts";
import { requireOracle, requireSystem } from "../support/oracle.ts";
import { treeOfTar } from "../support/tar-tree.ts";

/** Bytes that compress by about a half: words over words. */
function text(size: number, seed: number): Uint8Array {
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
function noise(size: number, seed: number): Uint8Array {
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
function compressibleTree(seed: number, { large = LARGE } = {}): Directory {
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

type Choice = Omit<Compression, "encoder">;
const CHOICES: readonly (Choice & { readonly tails: "blocks" | "inline" })[] = [
  { algorithm: "lz4", level: 1, clusterSize: 4096, tails: "blocks" },
  { algorithm: "lz4", level: 1, clusterSize: 65536, tails: "inline" },
  { algorithm: "lz4hc", level: 9, clusterSize: 8192, tails: "blocks" },
  { algorithm: "lz4hc", level: 2, clusterSize: 1048576, tails: "inline" },
  { algorithm: "zstd", level: 3, clusterSize: 4096, tails: "blocks" },
  { algorithm: "zstd", level: 1, clusterSize: 65536, tails: "inline" },
  { algorithm: "zstd", level: 9, clusterSize: 1048576, tails: "blocks" },
  { algorithm: "zstd", level: 3, packing: "bytes", clusterSize: 65536, tails: "blocks" },
  { algorithm: "zstd", level: 1, packing: "bytes", clusterSize: 4096, tails: "inline" },
];

for (const [i, { tails, ...choice }] of CHOICES.entries()) {
  const shown = JSON.stringify({ ...choice, tails });
  test(`fsck.erofs is content, and the kernel reads back what was written: ${shown}`, async (t) => {
    const path = join(await folder(t), "image");
    const root = compressibleTree(100 + i);
    await using encoder = createClusterEncoder({ workers: 2 });
    await writeImage(root, path, { tails, compression: { ...choice, encoder } });
    await using image = await fileSource(path);
    assert.deepEqual(await checkErofs(image), []);
    await verifyRoot(root, image);
    const fsck = requireOracle(t, "fsck.erofs", { from: "tools" });
    await fsck?.ok(["--extract", path]); // decodes all data, writes nothing
    const tools = requireMount(t);
    if (tools === undefined) return;
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), shown);
  });
}

test("one image for any number of workers", async (t) => {
  const directory = await folder(t);
  const root = compressibleTree(7, { large: [(4 << 20) + 1] });
  for (const { tails, ...choice } of CHOICES.filter(
    ({ clusterSize }) => clusterSize === 4096 || clusterSize === 65536,
  )) {
    const digests = new Set<string>();
    const write = async (encoder: ClusterEncoder): Promise<void> => {
      const path = join(directory, "image");
      await writeImage(root, path, { tails, compression: { ...choice, encoder } });
      digests.add(
        createHash("sha256")
          .update(await readFile(path))
          .digest("hex"),
      );
    };
    await write(inlineClusterEncoder(loadFrameMaker));
    for (const workers of [1, 3, 8]) {
      await using encoder = createClusterEncoder({ workers });
      await write(encoder);
    }
    assert.equal(digests.size, 1);
  }
});

test("equal files are stored once, and what does not compress as it is", async (t) => {
  const at = await folder(t);
  const write = async (files: Record<string, Uint8Array>): Promise<number> => {
    const root = directory(attributes(0o755));
    for (const [name, content] of Object.entries(files))
      putNode(root, fromUtf8(name), regularFile(attributes(0o644), bytesSource(content)));
    const path = join(at, "image");
    const encoder = inlineClusterEncoder();
    await writeImage(root, path, { compression: { algorithm: "lz4", level: 1, clusterSize: 4096, encoder } });
    return (await stat(path)).size;
  };
  const one = text(100_000, 1);
  assert.equal(await write({ a: one, b: one.slice(), c: one.slice() }), await write({ a: one }));
  const other = one.slice();
  other[50_000]! ^= 1;
  assert.ok((await write({ a: one, b: other })) > (await write({ a: one, b: one })) + 40_000);
  assert.equal(await write({ a: noise(100_000, 1) }), 4096 + 25 * 4096 + 4096);
  assert.ok((await write({ a: new Uint8Array(10 << 20) })) < 80_000);
});

test("a whole Debian system, from its tar", async (t) => {
  const tools = requireMount(t);
  if (tools === undefined) return;
  const tar = requireSystem(t, "trixie");
  if (tar === undefined) return;
  const path = join(await folder(t), "image");
  await using source = await fileSource(tar);
  const root = await treeOfTar(source);
  await using encoder = createClusterEncoder({ workers: 2 });
  await writeImage(root, path, { compression: { algorithm: "zstd", level: 3, clusterSize: 65536, encoder } });
  const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
  assertSame(seen, await expected(root), tar);
});
