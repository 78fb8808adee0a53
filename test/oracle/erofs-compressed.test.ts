// Our compressed EROFS images against fsck.erofs and the kernel's mount.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { type ClusterEncoder, inlineClusterEncoder } from "../../core/src/codecs/index.ts";
import { type Compression, checkErofs } from "../../core/src/formats/erofs/index.ts";
import { createClusterEncoder } from "../../core/src/node/index.ts";
import { loadFrameMaker } from "../../core/src/node/zstd-frame-maker.ts";
import { verifyRoot } from "../../core/src/ops/seal/verify-root.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import { compressibleTree, noise, text } from "../support/erofs-contents.ts";
import {
  assertSame,
  expected,
  fileSource,
  folder,
  requireMount,
  seenByKernel,
  withMount,
  writeImage,
} from "../support/erofs-images.ts";
import { requireOracle, requireSystem } from "../support/oracle.ts";
import { treeOfTar } from "../support/tar-tree.ts";

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
