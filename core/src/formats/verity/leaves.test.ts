import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BlockHasher, inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { memorySink, type Source } from "../../source/index.ts";
import { leafCollector, type VerityParameters } from "./index.ts";

const BLOCK = 512;
const PARAMETERS: VerityParameters = {
  algorithm: "sha256",
  dataBlockSize: BLOCK,
  hashBlockSize: 4096,
  salt: Uint8Array.of(9),
};
const hasher = inlineBlockHasher(pureHashes);
const BLOCK_HASH = { algorithm: "sha256", salt: PARAMETERS.salt, blockSize: BLOCK } as const;

const whole = async (source: Source) => (await source.read(0, source.size)).slice();

/** Answers late and out of order. */
const lateHasher: BlockHasher = {
  async hashBlocks(blocks, parameters) {
    for (let turns = (blocks.length / BLOCK) % 5; turns >= 0; turns--) await new Promise(setImmediate);
    return hasher.hashBlocks(blocks, parameters);
  },
};

test("leaves are the digests of what the target holds, whatever the writes and gaps", async () => {
  const writes = fc.array(fc.record({ gap: fc.nat(3), count: fc.integer({ min: 1, max: 5 }) }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(writes, fc.boolean(), fc.nat(4), fc.boolean(), async (runs, withFirst, tail, early) => {
      const target = memorySink();
      const collector = leafCollector(target, lateHasher, PARAMETERS);
      const reused = new Uint8Array(5 * BLOCK);
      let next = 1;
      for (const [i, { gap, count }] of runs.entries()) {
        const bytes = reused.subarray(0, count * BLOCK).fill(i + 1);
        await collector.writeAt((next + gap) * BLOCK, bytes);
        reused.fill(0xee); // ours again
        next += gap + count;
      }
      const dataSize = (next + tail) * BLOCK;
      const rest = early ? await collector.digestOfRest(dataSize, pureHashes) : undefined;
      if (withFirst) await collector.writeAt(0, new Uint8Array(BLOCK).fill(0xaa));
      const leaves = await whole(await collector.finish(dataSize));
      target.setSize(dataSize);
      assert.deepEqual(leaves, await hasher.hashBlocks(target.bytes(), BLOCK_HASH));
      if (rest !== undefined) assert.deepEqual(rest, pureHashes.hash("sha256", leaves.subarray(32)));
    }),
  );
});

test("more data than all chunks hold", async () => {
  const data = new Uint8Array(40 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 4096) data[at] = at / 4096;
  let inWork = 0;
  let most = 0;
  const counting: BlockHasher = {
    async hashBlocks(blocks, { blockSize }) {
      most = Math.max(most, ++inWork);
      await new Promise(setImmediate);
      inWork--;
      const digests = new Uint8Array((blocks.length / blockSize) * 32);
      for (let i = 0; i < blocks.length / blockSize; i++) digests[i * 32] = blocks[i * blockSize]!;
      return digests;
    },
  };
  const collector = leafCollector({ async writeAt() {} }, counting, { ...PARAMETERS, dataBlockSize: 4096 });
  await collector.writeAt(4096, data.subarray(4096));
  const leaves = await whole(await collector.finish(data.length));
  for (let i = 0; i < data.length / 4096; i++) assert.equal(leaves[i * 32], i & 0xff);
  assert.ok(most > 1 && most <= 16, `${most} chunks in work`);
});

test("writes out of order, twice or of part of a block are refused", async () => {
  const bad: [earlier: number[], offset: number, blocks: number][] = [
    [[2], 1, 1],
    [[1], 1, 1],
    [[0], 1, 1],
    [[0], 0, 1],
    [[], 0, 2],
    [[], 1.5, 1],
    [[], 1, 0.5],
    [[], -1, 1],
  ];
  for (const [earlier, block, blocks] of bad) {
    const collector = leafCollector({ async writeAt() {} }, hasher, PARAMETERS);
    for (const one of earlier) await collector.writeAt(one * BLOCK, new Uint8Array(BLOCK));
    await assert.rejects(
      collector.writeAt(block * BLOCK, new Uint8Array(blocks * BLOCK)),
      RangeError,
      `${earlier} ${block}`,
    );
  }
});

test("after digestOfRest only block 0 may come, and the size stays", async () => {
  const collector = leafCollector({ async writeAt() {} }, hasher, PARAMETERS);
  await collector.writeAt(BLOCK, new Uint8Array(BLOCK));
  await assert.rejects(collector.digestOfRest(BLOCK, pureHashes), RangeError); // block 1 lies outside
  await collector.digestOfRest(3 * BLOCK, pureHashes);
  await assert.rejects(collector.writeAt(2 * BLOCK, new Uint8Array(BLOCK)), RangeError);
  await assert.rejects(collector.finish(4 * BLOCK), RangeError);
  await collector.writeAt(0, new Uint8Array(BLOCK));
  assert.equal((await collector.finish(3 * BLOCK)).size, 96);
});

test("overlapping calls are refused", async () => {
  const collector = leafCollector({ async writeAt() {} }, hasher, PARAMETERS);
  const first = collector.writeAt(BLOCK, new Uint8Array(BLOCK));
  await assert.rejects(collector.writeAt(2 * BLOCK, new Uint8Array(BLOCK)), /overlap/);
  await first;
});

test("failures of target and hasher come out", async () => {
  const broken: BlockHasher = {
    async hashBlocks() {
      throw new Error("no hasher");
    },
  };
  const collector = leafCollector({ async writeAt() {} }, broken, PARAMETERS);
  await collector.writeAt(BLOCK, new Uint8Array(BLOCK)); // waits in a chunk
  await assert.rejects(collector.finish(2 * BLOCK), /no hasher/);
  const full = leafCollector(
    {
      async writeAt() {
        throw new Error("no space");
      },
    },
    hasher,
    PARAMETERS,
  );
  await assert.rejects(full.writeAt(BLOCK, new Uint8Array(BLOCK)), /no space/);
});
