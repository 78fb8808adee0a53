// A pack is a zstd file of its blocks, and its seek table is what the zstd seekable format says: read here by the text of the
// specification alone, with the zstd program for the frames.
import assert from "node:assert/strict";
import { test } from "node:test";
import { packWriter } from "../../core/src/formats/pack/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { createFrameCompressor, nodeHashes } from "../../core/src/node/index.ts";
import { forwardSink, memorySink } from "../../core/src/source/index.ts";
import { requireOracle } from "../support/oracle.ts";

const PARAMETERS = { algorithm: "sha256", salt: new Uint8Array(32).fill(9), blockSize: 4096 } as const;

async function packOf(blocks: Uint8Array): Promise<Buffer> {
  const compressor = await createFrameCompressor({ workers: 0 });
  const sink = memorySink();
  const writer = packWriter(forwardSink(sink), PARAMETERS, (bytes, size) => compressor.compressFrames(bytes, size, 6));
  await writer.add(blocks, await inlineBlockHasher(nodeHashes).hashBlocks(blocks, PARAMETERS));
  await writer.finish();
  return Buffer.from(sink.bytes());
}

const BLOCKS = Buffer.alloc(53 * 4096, "All that is in a pack is blocks. ").map((byte, index) => byte ^ (index >> 12));

test("zstd -d of a pack gives its blocks", async (t) => {
  const zstd = requireOracle(t, "zstd");
  if (zstd === undefined) return;
  const { bytes } = await zstd.ok(["-d", "-c"], { input: await packOf(BLOCKS) });
  assert.ok(Buffer.from(bytes).equals(BLOCKS));
});

test("each frame is found by the seek table and read by zstd alone", async (t) => {
  const zstd = requireOracle(t, "zstd");
  if (zstd === undefined) return;
  const pack = await packOf(BLOCKS);
  const footer = pack.subarray(-9);
  assert.equal(footer.readUInt32LE(5), 0x8f92eab1);
  assert.equal(footer[4], 0, "no checksums");
  const frames = footer.readUInt32LE(0);
  const table = pack.subarray(-(9 + frames * 8 + 8));
  assert.equal(table.readUInt32LE(0), 0x184d2a5e);
  assert.equal(table.readUInt32LE(4), frames * 8 + 9);
  let start = 0;
  let content = 0;
  for (let i = 0; i < frames; i++) {
    const size = table.readUInt32LE(8 + i * 8);
    const decompressed = table.readUInt32LE(8 + i * 8 + 4);
    const { bytes } = await zstd.ok(["-d", "-c"], { input: pack.subarray(start, start + size) });
    assert.ok(Buffer.from(bytes).equals(BLOCKS.subarray(content, content + decompressed)), `frame ${i}`);
    start += size;
    content += decompressed;
  }
  assert.equal(start, pack.length - table.length);
  assert.equal(content, BLOCKS.length);
});
