// What layers of literals may cost those who read them: memory for a few, a scratch file for more, and an end to it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "../../core/src/hash/index.ts";
import { decompressFrame, nodeCompressors, nodeHashes } from "../../core/src/node/index.ts";
import { MAX_ALL_LITERALS, MAX_LITERALS, openLayers } from "../../core/src/ops/publish/layers.ts";
import type { ReleaseManifest } from "../../core/src/ops/publish/manifest.ts";
import { memoryScratchFile } from "../../core/src/source/index.ts";
import { memoryRepository } from "../support/memory-repository.ts";

/** Layers of the largest size, each of one byte's value. */
async function literalLayers(count: number) {
  const repository = memoryRepository();
  const literals: ReleaseManifest["literals"][number][] = [];
  for (let value = 0; value < count; value++) {
    const bytes = await nodeCompressors.zstd(new Uint8Array(MAX_LITERALS).fill(value));
    const descriptor = {
      mediaType: "application/vnd.ashlar.literals.v1+zstd",
      digest: digestOf(nodeHashes, bytes),
      size: bytes.length,
      annotations: {},
    };
    repository.blobs.set(descriptor.digest, bytes);
    literals.push(descriptor);
  }
  let scratches = 0;
  const scratch = {
    create: async () => {
      scratches++;
      return memoryScratchFile();
    },
  };
  const manifest = { sections: [], literals } as unknown as ReleaseManifest;
  const layers = openLayers(repository, manifest, { hashes: nodeHashes, decompressFrame, scratch });
  return { layers, digests: literals.map(({ digest }) => digest), scratches: () => scratches };
}

test("literals beyond what is held in memory go to one scratch file, asked for in any order", async () => {
  const { layers, digests, scratches } = await literalLayers(4);
  const opened = await Promise.all(digests.map((digest) => layers.open(digest)));
  for (const [value, layer] of opened.entries()) {
    assert.equal(layer.size, MAX_LITERALS);
    for (const at of [0, MAX_LITERALS - 1]) assert.deepEqual([...(await layer.read(at, 1))], [value]);
  }
  assert.equal(scratches(), 1);
  await layers.close();
});

test("literals have a bound together", async () => {
  const { layers, digests } = await literalLayers(MAX_ALL_LITERALS / MAX_LITERALS + 1);
  const last = digests.pop()!;
  for (const digest of digests) await layers.open(digest);
  await assert.rejects(layers.open(last), { code: "too-many-literals" });
  await layers.close();
});
