/** fs-verity against `fsverity`: digests, descriptors and Merkle trees for all algorithms, block sizes and salts. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fromHex, toHex } from "../../core/src/bytes/index.ts";
import { type FsverityParameters, measureSource } from "../../core/src/formats/fsverity/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { bytesSource, memorySink } from "../../core/src/source/index.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { type Oracle, requireOracle } from "../support/oracle.ts";

const ALGORITHMS = ["sha256", "sha512"] as const;
const SALTS = ["", "00", "00112233445566778899aabbccddeeff", "ab".repeat(32)];

/** 0, 1 and what lies around a block, a full tree block and a full level of tree blocks. */
function sizesFor(blockSize: number): number[] {
  const perBlock = [blockSize / 32, blockSize / 64];
  const near = [blockSize, ...perBlock.map((count) => count * blockSize), perBlock[1]! ** 2 * blockSize];
  return [0, 1, ...near.flatMap((size) => [size - 1, size, size + 1])].filter((size) => size < 3_000_000);
}

async function inFolder(t: TestContext, work: (folder: string, fsverity: Oracle) => Promise<void>): Promise<void> {
  const fsverity = requireOracle(t, "fsverity");
  if (fsverity === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-fsverity-"));
  try {
    await work(folder, fsverity);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Every 64 bytes differ. */
function someBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(0x5a);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 <= size; at += 64) view.setUint32(at, at, true);
  return bytes;
}

function theirFlags({ algorithm, blockSize, salt }: FsverityParameters): string[] {
  return [
    `--hash-alg=${algorithm}`,
    `--block-size=${blockSize}`,
    ...(salt.length === 0 ? [] : [`--salt=${toHex(salt)}`]),
  ];
}

test("digests at every boundary", (t) =>
  inFolder(t, async (folder, fsverity) => {
    for (const blockSize of [1024, 2048, 4096, 16384, 65536]) {
      const files = sizesFor(blockSize).map((size) => ({ size, path: join(folder, `${size}`) }));
      for (const { size, path } of files) await writeFile(path, someBytes(size));
      for (const algorithm of ALGORITHMS)
        for (const salt of SALTS) {
          const parameters = { algorithm, blockSize, salt: fromHex(salt) };
          const { stdout } = await fsverity.ok(["digest", ...theirFlags(parameters), ...files.map(({ path }) => path)]);
          const ours: string[] = [];
          for (const { size, path } of files) {
            const { digest } = await measureSource(bytesSource(someBytes(size)), parameters, { hashes: nodeHashes });
            ours.push(`${algorithm}:${toHex(digest)} ${path}`);
          }
          assert.deepEqual(ours, stdout.trimEnd().split("\n"), `${algorithm} ${blockSize} ${salt}`);
        }
    }
  }));

test("Merkle trees and descriptors", (t) =>
  inFolder(t, async (folder, fsverity) => {
    const path = join(folder, "data");
    for (const [size, blockSize, algorithm, salt] of [
      [0, 4096, "sha256", ""],
      [4096, 4096, "sha256", "aa"],
      [4097, 4096, "sha512", ""],
      [1024 * 1024 + 5, 1024, "sha256", "0102"],
      [700_000, 2048, "sha512", ""],
    ] as const) {
      const parameters = { algorithm, blockSize, salt: fromHex(salt) };
      const data = someBytes(size);
      await writeFile(path, data);
      const outputs = [`--out-merkle-tree=${join(folder, "tree")}`, `--out-descriptor=${join(folder, "descriptor")}`];
      await fsverity.ok(["digest", ...theirFlags(parameters), ...outputs, path]);
      const sink = memorySink();
      const blockHasher = inlineBlockHasher(nodeHashes);
      const options = { hashes: nodeHashes, blockHasher, tree: sink };
      const { descriptor } = await measureSource(bytesSource(data), parameters, options);
      assert.equal(toHex(descriptor), toHex(await readFile(join(folder, "descriptor"))), `${size}`);
      assert.equal(toHex(sink.bytes()), toHex(await readFile(join(folder, "tree"))), `${size}`);
    }
  }));

test("the command prints what fsverity prints", (t) =>
  inFolder(t, async (folder, fsverity) => {
    const paths = [0, 5, 4097, 200_000].map((size) => join(folder, `${size}`));
    for (const [i, size] of [0, 5, 4097, 200_000].entries()) await writeFile(paths[i]!, someBytes(size));
    const theirs = await fsverity.ok(["digest", "--hash-alg=sha512", "--block-size=1024", "--salt=c0ffee", ...paths]);
    const flags = ["--algorithm", "sha512", "--block-size", "1024", "--salt", "c0ffee"];
    assert.equal(ashlarOk(["fsverity", "digest", ...flags, ...paths]).stdout, theirs.stdout);

    const [, , , big = ""] = paths;
    const tree = join(folder, "tree");
    const digest = ashlarOk(["fsverity", "digest", "--compact", "--out-merkle-tree", tree, big]).stdout.trim();
    await fsverity.ok(["digest", `--out-merkle-tree=${tree}.theirs`, big]);
    assert.deepEqual(await readFile(tree), await readFile(`${tree}.theirs`));
    ashlarOk(["fsverity", "verify", `sha256:${digest}`, big]);
    ashlarOk(["fsverity", "verify", "--merkle-tree", tree, digest, big]);
  }));
