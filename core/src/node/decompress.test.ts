import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { concatBytes } from "../bytes/index.ts";
import { FormatError, IntegrityError } from "../errors/index.ts";
import { nodeDecompressors } from "./decompress.ts";

async function* pieces(bytes: Uint8Array, size = 1 << 20) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function collect(output: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of output) parts.push(part);
  return concatBytes(...parts);
}
const code = (expected: string) => (error: unknown) => error instanceof FormatError && error.code === expected;

const formats = [
  ["gzip", gzipSync, nodeDecompressors.gunzip],
  ["zstd", zstdCompressSync, nodeDecompressors.unzstd],
] as const;
const text = new Uint8Array(300_000).map((_, i) => (i * i) >> 7);

for (const [name, compress, decompress] of formats) {
  const packed = new Uint8Array(compress(text));
  const unpack = (bytes: Uint8Array, size?: number) => collect(decompress(pieces(bytes, size), "layer 1"));

  test(`${name}: several members or frames, cut anywhere, are one stream`, async () => {
    const tripled = concatBytes(packed, packed, packed);
    const expected = concatBytes(text, text, text);
    assert.deepEqual(await unpack(tripled), expected);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1000, max: 200_000 }), async (size) => {
        assert.deepEqual(await unpack(tripled, size), expected);
      }),
      { numRuns: 10 },
    );
    assert.deepEqual(
      await unpack(concatBytes(compress(text.subarray(0, 40)), compress(text.subarray(40, 50))), 1),
      text.subarray(0, 50),
    );
  });

  test(`${name}: a stream that ends too early is truncated`, async () => {
    for (const size of [0, 3, 10, packed.length - 5, packed.length - 1])
      await assert.rejects(unpack(packed.subarray(0, size)), code("truncated"), `${size}`);
    await assert.rejects(unpack(concatBytes(packed, packed.subarray(0, 5))), code("truncated"));
  });

  test(`${name}: anything after the stream is an error`, async () => {
    for (const tail of [
      new Uint8Array(1),
      new Uint8Array(600),
      new Uint8Array(3_000_000),
      new TextEncoder().encode("garbage, long enough"),
    ]) {
      const bytes = concatBytes(packed, tail);
      const expected = (error: unknown) =>
        error instanceof FormatError && ["trailing-bytes", `bad-${name}`, "truncated"].includes(error.code);
      await assert.rejects(unpack(bytes), expected);
      await assert.rejects(unpack(bytes, packed.length), expected);
      await assert.rejects(unpack(concatBytes(bytes, packed), packed.length), expected);
    }
  });

  test(`${name}: a broken stream is an error of ours, or gives the same bytes`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const broken = packed.slice();
        broken[at] = broken[at]! ^ mask;
        try {
          await unpack(broken);
        } catch (error) {
          assert.ok(error instanceof FormatError || (error as Error).name === "UnsupportedError", String(error));
        }
      }),
      { numRuns: 100 },
    );
  });

  test(`${name}: errors of the input pass, a consumer may stop`, async () => {
    async function* failing() {
      yield packed.subarray(0, 50);
      throw new IntegrityError("size-mismatch", "too long");
    }
    await assert.rejects(collect(decompress(failing(), "layer 1")), IntegrityError);
    let closed = false;
    async function* watched() {
      try {
        for (;;) yield packed;
      } finally {
        closed = true;
      }
    }
    for await (const _ of decompress(watched(), "layer 1")) break;
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(closed);
  });
}

test("zstd: skippable frames hold nothing", async () => {
  const skippable = concatBytes(Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 8, 0, 0, 0), new Uint8Array(8).fill(7));
  const packed = new Uint8Array(zstdCompressSync(text));
  const stream = concatBytes(skippable, packed, skippable, packed, skippable);
  assert.deepEqual(await collect(nodeDecompressors.unzstd(pieces(stream, 999), "layer 1")), concatBytes(text, text));
});
