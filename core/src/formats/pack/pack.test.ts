import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { concatBytes, equalBytes } from "../../bytes/index.ts";
import { unfilterBranches } from "../../codecs/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { type BlockHashParameters, DIGEST_SIZES, inlineBlockHasher } from "../../hash/index.ts";
import { createFrameCompressor, decompressFrame, nodeHashes } from "../../node/index.ts";
import { bytesSource, forwardSink, memorySink } from "../../source/index.ts";
import { type CompressFrames, openPack, type PackShape, packWriter, readPackShape } from "./index.ts";

const hasher = inlineBlockHasher(nodeHashes);
const compressor = await createFrameCompressor({ workers: 0 });
const compress: CompressFrames = (blocks, size) => compressor.compressFrames(blocks, size, 3);

const parametersArbitrary = fc.record({
  algorithm: fc.constantFrom("sha256" as const, "sha512" as const),
  salt: fc.uint8Array({ maxLength: 40 }),
  blockSize: fc.constantFrom(512, 4096, 65536, 131072),
});

const PLAIN: Pick<PackShape, "frameScale" | "filter"> = { frameScale: 0, filter: undefined };

const framingArbitrary = fc.record({
  frameScale: fc.nat(3),
  filter: fc.constantFrom(undefined, "amd64" as const, "arm64" as const),
});

async function makePack(blocks: Uint8Array, parameters: BlockHashParameters, step = blocks.length, framing = PLAIN) {
  const sink = memorySink();
  const writer = packWriter(forwardSink(sink), parameters, compress, framing);
  const leaves = await hasher.hashBlocks(blocks, parameters);
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  for (let at = 0; at < blocks.length; at += step) {
    const part = blocks.subarray(at, at + step);
    const first = (at / parameters.blockSize) * digestSize;
    const count = (part.length / parameters.blockSize) * digestSize;
    await writer.add(part, leaves.subarray(first, first + count));
  }
  await writer.finish();
  return { bytes: sink.bytes(), leaves };
}

function someBlocks(count: number, blockSize: number, seed: number): Uint8Array {
  const blocks = new Uint8Array(count * blockSize);
  for (let i = 0; i < blocks.length; i++) blocks[i] = (i * 7 + Math.imul(seed + (i >> 9), 2654435761)) >>> (i % 24);
  return blocks;
}

test("what goes into a pack comes out by ranges, digests too, however it was handed over", async () => {
  await fc.assert(
    fc.asyncProperty(
      parametersArbitrary,
      fc.integer({ min: 1, max: 40 }),
      fc.nat(),
      framingArbitrary,
      async (parameters, count, seed, framing) => {
        const { blockSize } = parameters;
        const blocks = someBlocks(count, blockSize, seed);
        const { bytes, leaves } = await makePack(blocks, parameters, blocks.length, framing);
        const again = await makePack(blocks, parameters, 3 * blockSize, framing);
        assert.ok(equalBytes(bytes, again.bytes));
        const source = bytesSource(bytes);
        const shape = await readPackShape(source, "pack");
        assert.deepEqual(shape, {
          parameters: { ...parameters, salt: new Uint8Array(parameters.salt) },
          blocks: count,
          ...framing,
        });
        const pack = await openPack(source, shape, "pack");
        const frames = Array.from({ length: pack.frameCount }, (_, index) => {
          const { offset, size, blocks: inside, firstBlock } = pack.frame(index);
          assert.equal(firstBlock, index * pack.blocksPerFrame);
          const frame = decompressFrame(bytes.subarray(offset, offset + size), inside * blockSize, "frame");
          if (pack.filter !== undefined) unfilterBranches(frame, pack.filter);
          return frame;
        });
        assert.ok(equalBytes(concatBytes(...frames), blocks));
        const first = seed % count;
        const digestSize = DIGEST_SIZES[parameters.algorithm];
        assert.ok(equalBytes(await pack.readLeaves(first, count - first), leaves.subarray(first * digestSize)));
      },
    ),
    { numRuns: 60 },
  );
});

test("a pack with any byte of its tail changed is read as ours or refused by us", async () => {
  const parameters = { algorithm: "sha256", salt: Uint8Array.of(1, 2, 3), blockSize: 4096 } as const;
  const { bytes } = await makePack(someBlocks(40, 4096, 1), parameters);
  const leavesStart = bytes.length - 200;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 199 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const spoiled = Uint8Array.from(bytes);
      spoiled[leavesStart + at]! ^= change; // in range
      try {
        const source = bytesSource(spoiled);
        const pack = await openPack(source, await readPackShape(source, "pack"), "pack");
        for (let i = 0; i < pack.frameCount; i++) assert.ok(pack.frame(i).offset + pack.frame(i).size <= bytes.length);
      } catch (error) {
        assert.ok(isAshlarError(error), String(error));
      }
    }),
  );
});

test("a frame that holds more, less or something else is refused", () => {
  const frame = zstdCompressSync(new Uint8Array(4096));
  assert.equal(decompressFrame(frame, 4096, "frame").length, 4096);
  for (const size of [0, 1, 4095, 4097, 8192])
    assert.throws(() => decompressFrame(frame, size, "frame"), { kind: "FormatError", code: "bad-zstd" });
  assert.throws(() => decompressFrame(Uint8Array.of(1, 2, 3), 4096, "frame"), { code: "bad-zstd" });
  const bomb = zstdCompressSync(new Uint8Array(64 * 1024 * 1024));
  assert.throws(() => decompressFrame(bomb, 65536, "frame"), { code: "bad-zstd" });
});

test("a worker makes the same frames as the calling thread", async () => {
  const blocks = someBlocks(300, 4096, 9);
  await using pool = await createFrameCompressor({ workers: 1 });
  const there = await pool.compressFrames(blocks, 65536, 9);
  const here = await compressor.compressFrames(blocks, 65536, 9);
  assert.equal(there.length, Math.ceil(300 / 16));
  assert.ok(equalBytes(concatBytes(...there), concatBytes(...here)));
  assert.ok(equalBytes(zstdDecompressSync(there[0]!), blocks.subarray(0, 65536)));
});
