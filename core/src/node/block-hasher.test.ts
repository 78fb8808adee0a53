import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { promisify } from "node:util";
import { type BlockHashParameters, inlineBlockHasher, pureHashes } from "../hash/index.ts";
import { createBlockHasher } from "./block-hasher.ts";
import { nodeHashes } from "./hashes.ts";

test("node's hash functions are the pure ones", () => {
  const bytes = new Uint8Array(randomBytes(10_000));
  for (const algorithm of ["sha256", "sha512"] as const) {
    const expected = pureHashes.hash(algorithm, bytes);
    assert.deepEqual(nodeHashes.hash(algorithm, bytes), expected);
    const running = nodeHashes.create(algorithm);
    running.update(bytes.subarray(0, 1));
    running.update(bytes.subarray(1));
    const digest = running.digest();
    assert.deepEqual(digest, expected);
    assert.equal(Object.getPrototypeOf(digest), Uint8Array.prototype); // a Buffer's slice() is a view
  }
});

test("digests do not depend on workers, sizes or salts", async () => {
  await using none = createBlockHasher({ workers: 0 });
  await using one = createBlockHasher({ workers: 1 });
  await using three = createBlockHasher({ workers: 3 });
  const reference = inlineBlockHasher(nodeHashes);
  const blocks = new Uint8Array(randomBytes(5 * 1024 * 1024));
  const cases: BlockHashParameters[] = [];
  for (const algorithm of ["sha256", "sha512"] as const)
    for (const blockSize of [512, 4096, 524288])
      for (const saltSize of [0, 1, 32, 256])
        cases.push({ algorithm, blockSize, salt: new Uint8Array(randomBytes(saltSize)) });
  const untouched = blocks.slice();
  await Promise.all(
    cases.map(async (parameters) => {
      const expected = await reference.hashBlocks(blocks, parameters);
      for (const hasher of [none, one, three])
        assert.deepEqual(await hasher.hashBlocks(blocks, parameters), expected, JSON.stringify(parameters));
    }),
  );
  assert.deepEqual(blocks, untouched);
  const few = blocks.subarray(4096, 3 * 4096);
  const parameters: BlockHashParameters = { algorithm: "sha256", blockSize: 4096, salt: Uint8Array.of(1) };
  assert.deepEqual(await one.hashBlocks(few, parameters), await reference.hashBlocks(few, parameters));
  assert.equal((await one.hashBlocks(new Uint8Array(0), parameters)).length, 0);
});

test("bad calls are refused", async () => {
  await using hasher = createBlockHasher({ workers: 1 });
  const good: BlockHashParameters = { algorithm: "sha256", blockSize: 4096, salt: new Uint8Array(0) };
  await assert.rejects(hasher.hashBlocks(new Uint8Array(5000), good), RangeError);
  await assert.rejects(hasher.hashBlocks(new Uint8Array(4096), { ...good, salt: new Uint8Array(257) }), RangeError);
  await assert.rejects(hasher.hashBlocks(new Uint8Array(4096), { ...good, blockSize: 0 }), RangeError);
  await assert.rejects(hasher.hashBlocks(new Uint8Array(4096), { ...good, algorithm: "md5" as "sha256" }), RangeError);
  for (const workers of [-1, 1.5, 65]) assert.throws(() => createBlockHasher({ workers }), RangeError);
});

const LARGE = new Uint8Array(4 * 1024 * 1024);
const PARAMETERS: BlockHashParameters = { algorithm: "sha256", blockSize: 4096, salt: new Uint8Array(0) };

test("a worker that fails rejects the calls in work and later ones", async () => {
  await using missing = createBlockHasher({ workers: 2, workerUrl: new URL("./no-such-worker.ts", import.meta.url) });
  await assert.rejects(missing.hashBlocks(LARGE, PARAMETERS), /worker thread failed/);
  await assert.rejects(missing.hashBlocks(LARGE, PARAMETERS), /worker thread failed/);
  await using ending = createBlockHasher({ workers: 2, workerUrl: new URL("data:text/javascript,process.exit(3)") });
  await assert.rejects(ending.hashBlocks(LARGE, PARAMETERS), /ended \(exit code 3\)/);
  const refusing = `import { parentPort } from "node:worker_threads";
    parentPort.on("message", ({ slot }) => parentPort.postMessage({ slot, error: "I would rather not" }));`;
  await using unwilling = createBlockHasher({
    workers: 2,
    workerUrl: new URL(`data:text/javascript,${encodeURIComponent(refusing)}`),
  });
  await assert.rejects(unwilling.hashBlocks(LARGE, PARAMETERS), /I would rather not/);
});

test("disposing rejects the calls in work", async () => {
  const hasher = createBlockHasher({ workers: 2 });
  const work = assert.rejects(hasher.hashBlocks(LARGE, PARAMETERS), /disposed/);
  await hasher[Symbol.asyncDispose]();
  await work;
  await assert.rejects(hasher.hashBlocks(LARGE, PARAMETERS), /disposed/);
});

test("an idle hasher that nobody disposes does not keep the process alive; a busy one does", async () => {
  const program = `
    import { createBlockHasher } from ${JSON.stringify(new URL("./block-hasher.ts", import.meta.url).href)};
    const hasher = createBlockHasher({ workers: 2 });
    const parameters = { algorithm: "sha256", blockSize: 4096, salt: new Uint8Array(0) };
    hasher.hashBlocks(new Uint8Array(8 << 20), parameters).then((digests) => console.log(digests.length));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    timeout: 300_000,
  });
  assert.equal(stdout, `${(8 << 20) / 128}\n`);
});
