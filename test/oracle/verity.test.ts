/** dm-verity against veritysetup: the same bytes for the same salt and UUID, and each accepts the other's. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fromHex, toHex } from "../../core/src/bytes/index.ts";
import {
  buildHashTree,
  checkVerity,
  emitHashDevice,
  hashDeviceSize,
  layoutHashTree,
  leafCollector,
  type VerityParameters,
  verifiedSource,
  writeHashDevice,
} from "../../core/src/formats/verity/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { bytesSource, forwardSink, memorySink } from "../../core/src/source/index.ts";
import { type Oracle, requireOracle } from "../support/oracle.ts";

const UUID = "01234567-89ab-cdef-0123-456789abcdef";
const hasher = inlineBlockHasher(nodeHashes);

/** Reproducible bytes in which every 512 differ. */
function someBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size).fill(0x5a);
  for (let at = 0; at < size; at += 512)
    for (let i = 0; i < 4 && at + i < size; i++) bytes[at + i] = (at / 512 + 1) >> (8 * i);
  return bytes;
}

async function ours(data: Uint8Array, parameters: VerityParameters) {
  const target = memorySink();
  const collector = leafCollector(target, hasher, parameters);
  const step = 3 * parameters.dataBlockSize;
  for (let at = parameters.dataBlockSize; at < data.length; at += step)
    await collector.writeAt(at, data.subarray(at, at + step));
  await collector.writeAt(0, data.subarray(0, parameters.dataBlockSize));
  const leaves = await collector.finish(data.length);
  const image = memorySink();
  const { rootHash } = await writeHashDevice(forwardSink(image), leaves, parameters, hasher, { uuid: UUID });
  // The same from a tree in memory.
  const tree = await buildHashTree(await leaves.read(0, leaves.size), parameters, hasher);
  const again = memorySink();
  await emitHashDevice(forwardSink(again), tree, { uuid: UUID });
  assert.deepEqual(tree.rootHash, rootHash);
  assert.deepEqual(again.bytes(), image.bytes());
  return { rootHash, bytes: image.bytes() };
}

async function theirs(veritysetup: Oracle, folder: string, data: Uint8Array, parameters: VerityParameters) {
  await writeFile(join(folder, "data"), data);
  await rm(join(folder, "hash"), { force: true });
  const { stdout } = await veritysetup.ok([
    "format",
    join(folder, "data"),
    join(folder, "hash"),
    `--uuid=${UUID}`,
    `--salt=${parameters.salt.length === 0 ? "-" : toHex(parameters.salt)}`,
    `--hash=${parameters.algorithm}`,
    `--data-block-size=${parameters.dataBlockSize}`,
    `--hash-block-size=${parameters.hashBlockSize}`,
  ]);
  const rootHash = /Root hash:\s*([0-9a-f]+)/.exec(stdout)?.[1];
  assert.ok(rootHash, stdout);
  return { rootHash: fromHex(rootHash), bytes: new Uint8Array(await readFile(join(folder, "hash"))) };
}

async function withFolder(t: TestContext, run: (veritysetup: Oracle, folder: string) => Promise<void>): Promise<void> {
  const veritysetup = requireOracle(t, "veritysetup");
  if (veritysetup === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-verity-"));
  try {
    await run(veritysetup, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function compare(veritysetup: Oracle, folder: string, blocks: number, parameters: VerityParameters) {
  const data = someBytes(blocks * parameters.dataBlockSize);
  const mine = await ours(data, parameters);
  const other = await theirs(veritysetup, folder, data, parameters);
  const what = JSON.stringify({ blocks, ...parameters, salt: parameters.salt.length });
  assert.equal(toHex(mine.rootHash), toHex(other.rootHash), what);
  assert.ok(Buffer.compare(mine.bytes, other.bytes) === 0, `hash devices differ: ${what}`);
  assert.equal(mine.bytes.length, hashDeviceSize(blocks, parameters), what);
  const options = { hasher };
  const report = await checkVerity(bytesSource(data), bytesSource(other.bytes), other.rootHash, options);
  assert.deepEqual(report.findings, [], what);
  return { data, ...mine };
}

const SALT = fromHex("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
const PLAIN: VerityParameters = { algorithm: "sha256", dataBlockSize: 4096, hashBlockSize: 4096, salt: SALT };

test("hash devices are veritysetup's, byte for byte: block counts", (t) =>
  withFolder(t, async (veritysetup, folder) => {
    for (const algorithm of ["sha256", "sha512"] as const)
      for (const blocks of [1, 2, 63, 64, 65, 127, 128, 129, 255, 4096, 4097])
        await compare(veritysetup, folder, blocks, { ...PLAIN, algorithm });
    await compare(veritysetup, folder, 128 * 128 + 1, PLAIN); // three levels
  }));

test("hash devices are veritysetup's, byte for byte: block sizes", (t) =>
  withFolder(t, async (veritysetup, folder) => {
    for (const algorithm of ["sha256", "sha512"] as const)
      for (const dataBlockSize of [512, 1024, 4096, 65536, 524288])
        for (const hashBlockSize of [512, 2048, 4096, 16384, 524288])
          await compare(veritysetup, folder, 9, { algorithm, dataBlockSize, hashBlockSize, salt: SALT });
    for (const hashBlockSize of [512, 1024, 4096]) // many levels of few digests
      await compare(veritysetup, folder, 5000, { ...PLAIN, algorithm: "sha512", dataBlockSize: 512, hashBlockSize });
  }));

test("hash devices are veritysetup's, byte for byte: salts", (t) =>
  withFolder(t, async (veritysetup, folder) => {
    for (const size of [0, 1, 31, 32, 64, 255, 256])
      await compare(veritysetup, folder, 130, { ...PLAIN, salt: someBytes(size) });
  }));

test("veritysetup verify accepts our pair and refuses a flipped bit, as we do", (t) =>
  withFolder(t, async (veritysetup, folder) => {
    const parameters = { ...PLAIN, hashBlockSize: 1024 };
    const { data, rootHash, bytes } = await compare(veritysetup, folder, 2000, parameters);
    const paths = { data: join(folder, "data"), hash: join(folder, "hash") };
    const verify = async (dataBytes: Uint8Array, hashBytes: Uint8Array) => {
      await writeFile(paths.data, dataBytes);
      await writeFile(paths.hash, hashBytes);
      return (await veritysetup.run(["verify", paths.data, paths.hash, toHex(rootHash)])).status;
    };
    assert.equal(await verify(data, bytes), 0);

    const { levels } = layoutHashTree(2000, parameters);
    assert.equal(levels.length, 3);
    const spots = [
      ["data", 0, undefined],
      ["data", 1999, undefined],
      ...levels.flatMap(({ firstBlock, blocks }, level) => [
        ["hash", firstBlock, level] as const,
        ["hash", firstBlock + blocks - 1, level] as const,
      ]),
    ] as const;
    for (const [where, block, level] of spots) {
      const blockSize = where === "data" ? parameters.dataBlockSize : parameters.hashBlockSize;
      const flipped = (where === "data" ? data : bytes).slice();
      flipped[block * blockSize + 5]! ^= 0x10; // the block is there
      const dataBytes = where === "data" ? flipped : data;
      const hashBytes = where === "data" ? bytes : flipped;
      assert.notEqual(await verify(dataBytes, hashBytes), 0, `veritysetup: ${where} block ${block}`);
      const report = await checkVerity(bytesSource(dataBytes), bytesSource(hashBytes), rootHash, { hasher });
      assert.deepEqual(
        report.findings.map((finding) => [finding.code, finding.level, finding.firstBlock, finding.lastBlock]),
        [[where === "data" ? "verity-data" : "verity-hash-block", level, block, block]],
      );
      assert.equal(report.sound, false);
      const source = await verifiedSource(bytesSource(dataBytes), bytesSource(hashBytes), rootHash, { hasher });
      await assert.rejects(source.read(0, source.size), {
        code: "verity-mismatch",
        message: new RegExp(level === undefined ? `data block ${block} ` : `hash block ${block} \\(level ${level}\\)`),
      });
    }
  }));
