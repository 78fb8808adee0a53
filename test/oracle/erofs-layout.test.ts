// Our EROFS images in every layout that may be asked for, against fsck.erofs and the kernel's mount.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type ByteString, fromUtf8 } from "../../core/src/bytes/index.ts";
import { checkErofs, type WriteErofsOptions } from "../../core/src/formats/erofs/index.ts";
import { createClusterEncoder } from "../../core/src/node/index.ts";
import { verifyRoot } from "../../core/src/ops/seal/verify-root.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, type Directory, getNode, putNode, regularFile } from "../../core/src/tree/index.ts";
import { compressibleTree, noise } from "../support/erofs-contents.ts";
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
import { requireOracle } from "../support/oracle.ts";

/** Compressible contents, and files with holes and parts that come again. */
function layoutTree(seed: number): Directory {
  const root = compressibleTree(seed, { large: [(4 << 20) + 1] });
  const put = (path: string, content: Uint8Array): void =>
    putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(content)));
  for (let i = 0; i < 30; i++) {
    const content = new Uint8Array(10_000 + i * 7919);
    content.set(noise(3000, i % 5), (i * 4096) % 7000);
    put(`sparse/${i}`, content);
  }
  const blocks = [noise(65536, 1), noise(65536, 2), new Uint8Array(65536)];
  for (let i = 0; i < 20; i++)
    put(`parts/${i}`, new Uint8Array(Buffer.concat([blocks[i % 3]!, blocks[(i * 7) % 3]!, noise(i * 100, 3)]))); // three blocks
  return root;
}

const lz4 = { algorithm: "lz4", level: 1, clusterSize: 4096 } as const;
const zstd = { algorithm: "zstd", level: 3, clusterSize: 65536 } as const;
const lz4hc = { algorithm: "lz4hc", level: 9, clusterSize: 16384 } as const;
const packed = { ...zstd, packing: "bytes" } as const;

/** By path, so that each kind of content gets each method. */
function choose(path: ByteString) {
  return [lz4, zstd, lz4hc, "none" as const, packed, undefined][path.length % 6];
}

type Encoder = ReturnType<typeof createClusterEncoder>;
type Choice = (encoder: Encoder, root: Directory) => WriteErofsOptions;
const CHOICES: Readonly<Record<string, Choice>> = {
  "chunks of 4 KiB": () => ({ chunkSize: 4096 }),
  "chunks of 64 KiB, tails inline": () => ({ chunkSize: 65536, tails: "inline" }),
  "chunks of 1 MiB of blocks of 512": () => ({ chunkSize: 1048576, blockSize: 512 }),
  "a method for each file": (encoder) => ({
    compression: { ...lz4, encoder, hints: { methods: [lz4, zstd, lz4hc, packed], choose } },
  }),
  "last clusters behind the map, lz4": (encoder) => ({ tails: "ztailpacking", compression: { ...lz4, encoder } }),
  "last clusters behind the map, zstd": (encoder) => ({ tails: "ztailpacking", compression: { ...zstd, encoder } }),
  "fragments, lz4hc": (encoder) => ({ tails: "fragments", compression: { ...lz4hc, encoder } }),
  "fragments, zstd": (encoder) => ({ tails: "fragments", compression: { ...zstd, encoder } }),
  "fragments, a method for each file": (encoder) => ({
    tails: "fragments",
    compression: { ...zstd, encoder, hints: { methods: [lz4, zstd, lz4hc, packed], choose } },
  }),
  "some files first": (encoder, root) => ({
    first: ["parts/7", "sparse/3", "near/5"].flatMap((path) => getNode(root, path) ?? assert.fail(path)),
    compression: { ...lz4, encoder },
  }),
};

for (const [name, choice] of Object.entries(CHOICES))
  test(`fsck.erofs is content, and the kernel reads back what was written: ${name}`, async (t) => {
    const path = join(await folder(t), "image");
    const root = layoutTree(name.length);
    await using encoder = createClusterEncoder({ workers: 2 });
    await writeImage(root, path, choice(encoder, root));
    await using image = await fileSource(path);
    assert.deepEqual(await checkErofs(image), []);
    await verifyRoot(root, image);
    const fsck = requireOracle(t, "fsck.erofs", { from: "tools" });
    await fsck?.ok(["--extract", path]); // decodes all data, writes nothing
    const tools = requireMount(t);
    if (tools === undefined) return;
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), name);
  });

test("one image for any number of workers: hints, last clusters behind the map, fragments", async (t) => {
  const directory = await folder(t);
  const root = layoutTree(5);
  for (const name of ["last clusters behind the map, lz4", "fragments, a method for each file"]) {
    const digests = new Set<string>();
    for (const workers of [1, 2, 8]) {
      const path = join(directory, "image");
      await using encoder = createClusterEncoder({ workers });
      await writeImage(root, path, CHOICES[name]!(encoder, root)); // a key
      digests.add(
        createHash("sha256")
          .update(await readFile(path))
          .digest("hex"),
      );
    }
    assert.equal(digests.size, 1, name);
  }
});
