import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { bytesSource, forwardSink, memorySink, type Source } from "../../source/index.ts";
import {
  buildHashTree,
  checkVerity,
  emitHashDevice,
  layoutHashTree,
  parseVeritySuperblock,
  type VerityParameters,
  verifiedSource,
  verifyVerity,
} from "./index.ts";

const hasher = inlineBlockHasher(pureHashes);
const PARAMETERS: VerityParameters = {
  algorithm: "sha512",
  dataBlockSize: 512,
  hashBlockSize: 512, // eight digests a block: four levels for 700 blocks
  salt: Uint8Array.of(4, 5),
};

async function seal(blocks: number, parameters = PARAMETERS) {
  const data = new Uint8Array(blocks * parameters.dataBlockSize);
  for (let i = 0; i < data.length; i++) data[i] = i ^ (i >> 8) ^ (i >> 16);
  const { algorithm, salt, dataBlockSize } = parameters;
  const leaves = await hasher.hashBlocks(data, { algorithm, salt, blockSize: dataBlockSize });
  const tree = await buildHashTree(leaves, parameters, hasher);
  const image = memorySink();
  await emitHashDevice(forwardSink(image), tree, { uuid: "01234567-89ab-cdef-0123-456789abcdef" });
  return { data, hash: image.bytes(), rootHash: tree.rootHash };
}

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 1; // callers stay inside
  return copy;
}

function counting(source: Source): Source & { bytes: number } {
  return {
    size: source.size,
    bytes: 0,
    read(offset, length) {
      this.bytes += length;
      return source.read(offset, length);
    },
  };
}

test("a verified source reads as the plain one", async () => {
  for (const blocks of [1, 2, 8, 9, 700]) {
    const { data, hash, rootHash } = await seal(blocks);
    const options = { hasher, cacheSize: 2048 };
    const source = await verifiedSource(bytesSource(data), bytesSource(hash), rootHash, options);
    assert.equal(source.size, data.length);
    await fc.assert(
      fc.asyncProperty(fc.nat(data.length), fc.nat(5000), async (offset, size) => {
        const length = Math.min(size, data.length - offset);
        assert.deepEqual(await source.read(offset, length), data.subarray(offset, offset + length));
      }),
    );
    await assert.rejects(source.read(data.length, 1), { code: "out-of-range" });
  }
});

test("reads of one place do not read or check the tree again", async () => {
  const { data, hash, rootHash } = await seal(700);
  const device = counting(bytesSource(hash));
  const source = await verifiedSource(bytesSource(data), device, rootHash, { hasher });
  await source.read(0, 10);
  assert.equal(device.bytes, 512 * (1 + layoutHashTree(700, PARAMETERS).levels.length));
  await Promise.all([source.read(3, 512), source.read(1024, 4)]);
  assert.equal(device.bytes, 512 * 5);
});

test("any flipped bit of data or tree is found by reading and by checking, and named", async () => {
  const blocks = 700;
  const { data, hash, rootHash } = await seal(blocks);
  const { levels } = layoutHashTree(blocks, PARAMETERS);
  assert.equal(levels.length, 4);
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.nat(), async (inTree, place) => {
      // Behind the superblock, which is not under the root hash.
      const at = inTree ? 512 + (place % (hash.length - 512)) : place % data.length;
      const devices = [
        bytesSource(inTree ? data : flip(data, at)),
        bytesSource(inTree ? flip(hash, at) : hash),
      ] as const;
      const block = Math.floor(at / 512);
      const level = inTree
        ? levels.findIndex(({ firstBlock, blocks: count }) => block >= firstBlock && block < firstBlock + count)
        : undefined;

      const source = await verifiedSource(...devices, rootHash, { hasher });
      const what = inTree ? `hash block ${block} \\(level ${level}\\)` : `data block ${block}`;
      await assert.rejects(source.read(0, source.size), { code: "verity-mismatch", message: new RegExp(`${what} `) });

      const report = await checkVerity(...devices, rootHash, { hasher });
      const code = inTree ? "verity-hash-block" : "verity-data";
      assert.deepEqual(
        report.findings.map((finding) => [finding.code, finding.level, finding.firstBlock, finding.lastBlock]),
        [[code, level, block, block]],
      );
      // A single damaged hash block is rebuilt from its children, so all data could be checked.
      assert.deepEqual([report.badDataBlocks, report.badHashBlocks], inTree ? [0, 1] : [1, 0]);
      assert.equal(report.unverifiableBlocks, 0);
    }),
  );
});

test("a bad block does not spoil its neighbours", async () => {
  const { data, hash, rootHash } = await seal(20);
  const source = await verifiedSource(bytesSource(flip(data, 5 * 512)), bytesSource(hash), rootHash, { hasher });
  assert.deepEqual(await source.read(0, 5 * 512), data.subarray(0, 5 * 512));
  assert.deepEqual(await source.read(6 * 512, 14 * 512), data.subarray(6 * 512));
  await assert.rejects(source.read(5 * 512 + 511, 2), {
    name: "IntegrityError",
    code: "verity-mismatch",
    message: "verity: data block 5 at byte 2560 does not match the hash tree",
  });
});

test("bad blocks are told as ranges, and no more than asked for", async () => {
  const { data, hash, rootHash } = await seal(100);
  data.fill(0xff, 10 * 512, 30 * 512);
  for (let i = 40; i < 60; i += 2) data.fill(0xff, i * 512, (i + 1) * 512);
  const devices = [bytesSource(data), bytesSource(hash)] as const;
  const report = await checkVerity(...devices, rootHash, { hasher, maxFindings: 3 });
  assert.equal(report.badDataBlocks, 30);
  assert.deepEqual(
    report.findings.map(({ message }) => message),
    [
      "data blocks 10 to 29 do not match the hash tree",
      "data block 40 does not match the hash tree",
      "data block 42 does not match the hash tree",
    ],
  );
  await assert.rejects(verifyVerity(...devices, rootHash, { hasher }), { name: "IntegrityError", code: "verity-data" });
});

test("what lies under a lost hash block is unverifiable, the rest is checked", async () => {
  const { data, hash, rootHash } = await seal(100);
  const { levels } = layoutHashTree(100, PARAMETERS);
  data[9 * 512]! ^= 1; // under leaf hash block 1 …
  hash[(levels[0]!.firstBlock + 1) * 512]! ^= 1; // … which is damaged too, so it cannot be rebuilt
  data[50 * 512]! ^= 1;
  const report = await checkVerity(bytesSource(data), bytesSource(hash), rootHash, { hasher });
  assert.deepEqual(
    report.findings.map(({ code, firstBlock, lastBlock }) => [code, firstBlock, lastBlock]),
    [
      ["verity-hash-block", levels[0]!.firstBlock + 1, levels[0]!.firstBlock + 1],
      ["verity-unverifiable", 8, 15],
      ["verity-data", 50, 50],
    ],
  );
});

test("another root hash is called so", async () => {
  const { data, hash, rootHash } = await seal(100);
  const other = flip(rootHash, 3);
  const report = await checkVerity(bytesSource(data), bytesSource(hash), other, { hasher });
  assert.equal(report.findings[0]?.code, "verity-root");
  assert.equal(report.unverifiableBlocks, 100);
  assert.equal(report.sound, false);
  const single = await seal(1);
  const one = await checkVerity(bytesSource(single.data), bytesSource(single.hash), other, { hasher });
  assert.equal(one.badDataBlocks, 1);
});

test("a range is checked, and nothing beside it", async () => {
  const { data, hash, rootHash } = await seal(700);
  const devices = [bytesSource(flip(data, 600 * 512)), bytesSource(hash)] as const;
  const check = (offset: number, length: number) =>
    checkVerity(...devices, rootHash, { hasher, range: { offset, length } });
  const clean = await check(1000, 512);
  assert.ok(clean.sound);
  assert.equal(clean.checkedBlocks, 8);
  const dirty = await check(595 * 512, 10 * 512);
  assert.equal(dirty.badDataBlocks, 1);
  assert.equal(dirty.checkedBlocks, 16);
  assert.equal((await check(699 * 512, 512)).checkedBlocks, 4);
  await assert.rejects(check(699 * 512, 513), RangeError);
  await assert.rejects(check(0, 0), RangeError);
});

test("sizes that cannot be true are refused before any block is read", async () => {
  const { data, hash, rootHash } = await seal(20);
  const short = (bytes: Uint8Array) => bytesSource(bytes.subarray(0, -1));
  const open = (a: Source, b: Source, root: Uint8Array) => verifiedSource(a, b, root, { hasher });
  await assert.rejects(open(short(data), bytesSource(hash), rootHash), { code: "verity-size" });
  await assert.rejects(open(bytesSource(data), short(hash), rootHash), { code: "verity-size" });
  await assert.rejects(open(bytesSource(data), bytesSource(hash), rootHash.subarray(32)), { code: "verity-root-hash" });
});

test("a forged superblock brings nothing in, and is not read where the caller knows better", async () => {
  const { data, hash, rootHash } = await seal(100);
  const truth = parseVeritySuperblock(hash);
  const forged = flip(hash, 88); // first byte of the salt
  const source = await verifiedSource(bytesSource(data), bytesSource(forged), rootHash, { hasher });
  await assert.rejects(source.read(0, 1), { code: "verity-mismatch" });
  const options = { hasher, superblock: truth };
  const known = await verifiedSource(bytesSource(data), bytesSource(forged), rootHash, options);
  assert.deepEqual(await known.read(0, 512), data.subarray(0, 512));
});

test("hash blocks that cover more than a chunk of data", async () => {
  const parameters: VerityParameters = {
    ...PARAMETERS,
    algorithm: "sha256",
    dataBlockSize: 4096,
    hashBlockSize: 65536,
  };
  const { data, hash, rootHash } = await seal(2500, parameters);
  const seen: number[] = [];
  const report = await checkVerity(bytesSource(flip(data, 2049 * 4096)), bytesSource(hash), rootHash, {
    hasher,
    onProgress: (done, total) => seen.push(done / total),
  });
  assert.deepEqual(
    report.findings.map(({ firstBlock }) => firstBlock),
    [2049],
  );
  assert.equal(seen.at(-1), 1);
});

test("a cancelled check stops", async () => {
  const { data, hash, rootHash } = await seal(100);
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(checkVerity(bytesSource(data), bytesSource(hash), rootHash, { hasher, signal }), /enough/);
});
