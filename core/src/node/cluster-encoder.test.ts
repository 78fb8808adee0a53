import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type ClusterEncoder, type ClusterEncoding, inlineClusterEncoder } from "../codecs/index.ts";
import { createClusterEncoder } from "./cluster-encoder.ts";

const ENCODING: ClusterEncoding = { algorithm: "lz4", level: 1, blockSize: 4096, packing: "blocks", clusterSize: 4096 };

async function encodeOnce(encoder: ClusterEncoder, content: Uint8Array) {
  const slot = await encoder.take();
  slot.input.set(content);
  const { bytes, extents } = await slot.encode([{ at: 0, size: content.length }], ENCODING);
  const copy = { bytes: bytes.slice(), extents: extents.slice() };
  slot.release();
  return copy;
}

test("what comes out does not depend on who encodes it, with more calls than slots", async () => {
  const contents = Array.from({ length: 20 }, (_, i) => {
    const bytes = new Uint8Array(50_000 + i * 1000);
    bytes.set(randomBytes(20_000), i * 100);
    return bytes;
  });
  const inline = inlineClusterEncoder();
  const expected = await Promise.all(contents.map((content) => encodeOnce(inline, content)));
  for (const workers of [0, 1, 3]) {
    await using encoder = createClusterEncoder({ workers });
    const results = await Promise.all(contents.map((content) => encodeOnce(encoder, content)));
    for (const [i, { bytes, extents }] of results.entries()) {
      assert.ok(Buffer.from(bytes).equals(expected[i]!.bytes));
      assert.deepEqual([...extents], [...expected[i]!.extents]);
    }
  }
});

test("a bad call is refused, and the next one is served", async () => {
  for (const workers of [0, 1]) {
    await using encoder = createClusterEncoder({ workers });
    const slot = await encoder.take();
    await assert.rejects(slot.encode([{ at: 1, size: 1 }], ENCODING), /cannot be at 1/);
    slot.release();
    assert.equal((await encodeOnce(encoder, new Uint8Array(100_000))).extents[0], 100_000);
  }
  for (const workers of [-1, 1.5, 65]) assert.throws(() => createClusterEncoder({ workers }), RangeError);
});

test("a worker that fails rejects the calls in work and later ones", async () => {
  for (const [url, reason] of [
    [new URL("./no-such-worker.ts", import.meta.url), /worker thread failed/],
    [new URL("data:text/javascript,process.exit(3)"), /ended \(exit code 3\)/],
  ] as const) {
    await using encoder = createClusterEncoder({ workers: 1, workerUrl: url });
    const slot = await encoder.take();
    await assert.rejects(slot.encode([{ at: 0, size: 1 }], ENCODING), reason);
    await assert.rejects(slot.encode([{ at: 0, size: 1 }], ENCODING), reason);
    await assert.rejects(encoder.take(), reason);
  }
});

test("disposing rejects the calls in work", async () => {
  const encoder = createClusterEncoder({ workers: 1 });
  const slot = await encoder.take();
  const work = assert.rejects(slot.encode([{ at: 0, size: 4_000_000 }], ENCODING), /disposed/);
  await encoder[Symbol.asyncDispose]();
  await work;
  await assert.rejects(encoder.take(), /disposed/);
});

test("what a piece becomes does not depend on what was encoded before it, nor beside it", async () => {
  const noise = randomBytes(3000);
  const content = new Uint8Array(400_000);
  for (let at = 0; at < content.length; at += 1000) content.set(noise.subarray(at % 2000, (at % 2000) + 997), at);
  for (const [algorithm, level] of [
    ["lz4", 1],
    ["lz4hc", 9],
    ["zstd", 3],
    ["zstd", 7],
    ["zstd", 9],
  ] as const) {
    const encoding: ClusterEncoding = { algorithm, level, blockSize: 4096, packing: "blocks", clusterSize: 16384 };
    await using encoder = createClusterEncoder({ workers: 1 });
    const results: Uint8Array[] = [];
    for (const before of [0, 4096, 131_072]) {
      const slot = await encoder.take();
      slot.input.set(randomBytes(before));
      slot.input.set(content, before);
      const pieces = [...(before === 0 ? [] : [{ at: 0, size: before }]), { at: before, size: content.length }];
      const { bytes } = await slot.encode(pieces, encoding);
      results.push(bytes.slice(before)); // noise stays as long as it is
      slot.release();
    }
    for (const result of results) assert.ok(Buffer.from(result).equals(results[0]!), algorithm);
  }
});
