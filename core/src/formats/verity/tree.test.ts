import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../bytes/index.ts";
import { DIGEST_SIZES, inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { forwardSink, memorySink } from "../../source/index.ts";
import { buildHashTree, emitHashDevice, hashDeviceSize, layoutHashTree, type VerityParameters } from "./index.ts";

const hasher = inlineBlockHasher(pureHashes);
const PLAIN: VerityParameters = {
  algorithm: "sha256",
  dataBlockSize: 4096,
  hashBlockSize: 4096,
  salt: Uint8Array.of(1, 2, 3),
};

test("levels stand top first behind the superblock", () => {
  assert.deepEqual(layoutHashTree(1, PLAIN), { levels: [], digestsPerBlock: 128, size: 4096 });
  assert.deepEqual(layoutHashTree(2, PLAIN).levels, [{ firstBlock: 1, blocks: 1 }]);
  assert.deepEqual(layoutHashTree(128, PLAIN).levels, [{ firstBlock: 1, blocks: 1 }]);
  assert.deepEqual(layoutHashTree(128 * 128 + 1, PLAIN), {
    levels: [
      { firstBlock: 4, blocks: 129 },
      { firstBlock: 2, blocks: 2 },
      { firstBlock: 1, blocks: 1 },
    ],
    digestsPerBlock: 128,
    size: 133 * 4096,
  });
  const small = { ...PLAIN, algorithm: "sha512", hashBlockSize: 512 } as const;
  assert.equal(layoutHashTree(9, small).digestsPerBlock, 8);
  assert.equal(hashDeviceSize(9, small), 512 * (1 + 1 + 2));
});

test("a hash device with a pinned root hash and digest, made by veritysetup 2.6.1", async () => {
  // 300 blocks, block i filled with the byte i & 0xff: `veritysetup format --salt=010203 --uuid=0123…cdef`.
  const data = new Uint8Array(300 * 4096);
  for (let i = 0; i < 300; i++) data.fill(i & 0xff, i * 4096, (i + 1) * 4096);
  const leaves = await hasher.hashBlocks(data, { algorithm: "sha256", salt: PLAIN.salt, blockSize: 4096 });
  const tree = await buildHashTree(leaves, PLAIN, hasher);
  const image = memorySink();
  const sink = forwardSink(image);
  await emitHashDevice(sink, tree, { uuid: "01234567-89ab-cdef-0123-456789abcdef" });
  assert.equal(sink.position, hashDeviceSize(300, PLAIN));
  assert.equal(toHex(tree.rootHash), "dd374ae3099d64dded13320ba1495a3149b8af3964db3bbfce66187b72b96501");
  assert.equal(
    toHex(pureHashes.hash("sha256", image.bytes())),
    "fca54c440e18e9959a025214566a867051d4ed03facd71666e095ce455919586",
  );
});

test("the root hash of one data block is its own digest", async () => {
  for (const algorithm of ["sha256", "sha512"] as const) {
    const leaf = new Uint8Array(DIGEST_SIZES[algorithm]).fill(7);
    const tree = await buildHashTree(leaf, { ...PLAIN, algorithm }, hasher);
    assert.deepEqual(tree.rootHash, leaf);
    assert.deepEqual(tree.levels, []);
  }
});

test("no data and parts of digests are refused", async () => {
  await assert.rejects(buildHashTree(new Uint8Array(0), PLAIN, hasher), RangeError);
  await assert.rejects(buildHashTree(new Uint8Array(33), PLAIN, hasher), RangeError);
});
