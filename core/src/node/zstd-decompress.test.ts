import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { concatBytes } from "../bytes/index.ts";
import { pureDecompressor } from "../codecs/index.ts";
import { isAshlarError } from "../errors/index.ts";
import { loadNativeZstd } from "./native.ts";
import { nativeDecompressor } from "./native-decompressor.ts";
import { type DecompressFrame, isFrameOf, loadFrameDecompressor, loadWasmDecompressor } from "./zstd-decompress.ts";

const content = fc
  .tuple(fc.integer({ min: 1, max: 300_000 }), fc.integer({ min: 1, max: 256 }), fc.nat())
  .map(([size, letters, seed]) => {
    let state = seed | 1;
    return new Uint8Array(size).map(() => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 16) % letters;
    });
  });

function compress(bytes: Uint8Array, { checksum = 0 } = {}): Uint8Array {
  const params = { [constants.ZSTD_c_checksumFlag]: checksum, [constants.ZSTD_c_contentSizeFlag]: 1 };
  return new Uint8Array(zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length }));
}

function decompresses(decompress: DecompressFrame): void {
  fc.assert(
    fc.property(content, fc.nat(1), (bytes, checksum) => {
      const output = new Uint8Array(bytes.length);
      assert.ok(decompress(compress(bytes, { checksum }), output));
      assert.deepEqual(output, bytes);
    }),
    { numRuns: 20 },
  );
}

test("a frame that says its size is decompressed, with its checksum and without", async () => {
  decompresses(await loadFrameDecompressor());
});

test("where Node's own zstd cannot be called, the WASM build does the same", async () => {
  decompresses(await loadWasmDecompressor());
});

test("Node lets its own zstd be found", { skip: process.platform !== "linux" }, () => {
  const decompress = loadNativeZstd();
  assert.ok(decompress);
  decompresses(decompress);
  const frame = compress(new Uint8Array(70_000).fill(7));
  assert.ok(!decompress(frame, new Uint8Array(69_999)), "more than there is room for");
  assert.ok(!decompress(frame.subarray(0, 10), new Uint8Array(70_000)), "cut off");
});

test("only one frame, all of it, of the wanted size counts", () => {
  const frame = compress(new Uint8Array(70_000).fill(7));
  assert.ok(isFrameOf(frame, 70_000));
  assert.ok(!isFrameOf(frame, 69_999));
  for (let size = 0; size < frame.length; size++) assert.ok(!isFrameOf(frame.subarray(0, size), 70_000));
  assert.ok(!isFrameOf(concatBytes(frame, Uint8Array.of(0)), 70_000));
  assert.ok(!isFrameOf(concatBytes(frame, compress(new Uint8Array(0))), 70_000));
  const silent = zstdCompressSync(new Uint8Array(70_000), { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } });
  assert.ok(!isFrameOf(new Uint8Array(silent), 70_000), "it says no size");
});

test("what is broken is refused as without the library", async () => {
  const prepared = nativeDecompressor();
  await prepared.prepare?.(["zstd"]);
  const pure = pureDecompressor();
  const attempt = (decompressor: typeof pure, frame: Uint8Array, size: number): Uint8Array | string => {
    const output = new Uint8Array(size);
    try {
      decompressor.decompress("zstd", frame, output, { what: "a cluster" });
      return output;
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      return error.message;
    }
  };
  fc.assert(
    fc.property(content, fc.nat(1), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, checksum, place, flip) => {
      const frame = compress(bytes, { checksum });
      frame[place % frame.length]! ^= flip; // a frame is never empty
      assert.deepEqual(attempt(prepared, frame, bytes.length), attempt(pure, frame, bytes.length));
    }),
    { numRuns: 150 },
  );
});
