import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constants, deflateRawSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { fromHex } from "../bytes/index.ts";
import { FormatError, isAshlarError } from "../errors/index.ts";
import { type CompressionAlgorithm, type DecompressOptions, pureDecompressor } from "./index.ts";

const decompressor = pureDecompressor();

function decompress(
  algorithm: CompressionAlgorithm,
  input: Uint8Array,
  size: number,
  options?: DecompressOptions,
): Uint8Array {
  const output = new Uint8Array(size).fill(0xaa);
  decompressor.decompress(algorithm, input, output, options);
  return output;
}

/** Data that compresses to some degree: runs, repeats of what was, and noise. */
const compressible: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.oneof(
      fc.record({ kind: fc.constant("noise" as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
      fc.record({ kind: fc.constant("run" as const), byte: fc.nat(255), count: fc.nat(5000) }),
      fc.record({ kind: fc.constant("again" as const), back: fc.nat(40_000), count: fc.nat(3000) }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => {
    const bytes: number[] = [];
    for (const part of parts)
      if (part.kind === "noise") bytes.push(...part.bytes);
      else if (part.kind === "run") for (let i = 0; i < part.count; i++) bytes.push(part.byte);
      else for (let i = 0; i < part.count && bytes.length > 0; i++) bytes.push(bytes.at(-1 - part.back) ?? i & 0xff);
    return Uint8Array.from(bytes);
  });

/** A plain LZ4 compressor: greedy, the last place of each four bytes. */
function lz4(data: Uint8Array): Uint8Array {
  const out: number[] = [];
  const places = new Map<number, number>();
  const extra = (rest: number): void => {
    for (let left = rest; ; left -= 255) {
      out.push(Math.min(left, 255));
      if (left < 255) return;
    }
  };
  const sequence = (from: number, to: number, distance: number, size: number): void => {
    const literals = to - from;
    const match = size === 0 ? 0 : size - 4;
    out.push((Math.min(literals, 15) << 4) | Math.min(match, 15));
    if (literals >= 15) extra(literals - 15);
    for (let i = from; i < to; i++) out.push(data[i] ?? 0);
    if (size === 0) return;
    out.push(distance & 255, distance >> 8);
    if (match >= 15) extra(match - 15);
  };
  let start = 0;
  for (let at = 0; at + 12 <= data.length; ) {
    const key = new DataView(data.buffer, data.byteOffset + at, 4).getUint32(0);
    const place = places.get(key);
    places.set(key, at);
    if (place === undefined || at - place > 65_535) {
      at++;
      continue;
    }
    let size = 4;
    while (at + size < data.length - 5 && data[place + size] === data[at + size]) size++;
    sequence(start, at, at - place, size);
    at += size;
    start = at;
  }
  sequence(start, data.length, 0, 0);
  return Uint8Array.from(out);
}

const zstd = (data: Uint8Array, level = 3, hasChecksum = false): Uint8Array =>
  zstdCompressSync(data, {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: hasChecksum ? 1 : 0,
    },
  });

/** A cluster of mkfs.erofs 1.9.4 without its zeros: `TEXT` with -zlzma. */
const MICROLZMA = fromHex(
  "a2209b800613d7ab919577d6c63fae0d21abf7aaf943fcbee87c4515acf95ba35c2014b82489ce53077389432ef6228c63e363dcf795b518" +
    "3576b818f010e1ca8db906a691952b4bf3966f1f72a0854205bf76c9e666302224f00afdc37fd5f6f382c78600",
);
const TEXT = Uint8Array.from(
  Buffer.from("An ashlar is a squared stone, checked before it is laid. ".repeat(200), "latin1"),
);

interface Sample {
  readonly algorithm: CompressionAlgorithm;
  readonly compressed: Uint8Array;
  readonly data: Uint8Array;
}
const SAMPLES: readonly Sample[] = [
  { algorithm: "lz4", compressed: lz4(TEXT), data: TEXT },
  { algorithm: "microlzma", compressed: MICROLZMA, data: TEXT },
  { algorithm: "deflate", compressed: Uint8Array.from(deflateRawSync(TEXT)), data: TEXT },
  { algorithm: "zstd", compressed: Uint8Array.from(zstd(TEXT, 3, true)), data: TEXT },
];

const isBroken = (message: RegExp) => (error: unknown) =>
  error instanceof FormatError && error.code === "bad-compression" && message.test(error.message);

describe("round trips", () => {
  test("LZ4", () => {
    fc.assert(fc.property(compressible, (data) => assert.deepEqual(decompress("lz4", lz4(data), data.length), data)));
  });

  test("DEFLATE of every level and strategy", () => {
    const { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED } = constants;
    const strategies = fc.constantFrom(Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED);
    fc.assert(
      fc.property(compressible, fc.integer({ min: 0, max: 9 }), strategies, (data, level, strategy) => {
        const compressed = deflateRawSync(data, { level, strategy });
        assert.deepEqual(decompress("deflate", compressed, data.length), data);
      }),
    );
  });

  test("zstd of many levels, with and without checksum", () => {
    fc.assert(
      fc.property(compressible, fc.constantFrom(-7, 1, 3, 6, 12, 19), fc.boolean(), (data, level, hasChecksum) => {
        assert.deepEqual(decompress("zstd", zstd(data, level, hasChecksum), data.length), data);
      }),
    );
  });

  test("zstd of several blocks", () => {
    const data = Uint8Array.from({ length: 700_000 }, (_, i) => (i * i) >> (i % 11) || i % 7);
    for (const level of [1, 5, 15]) assert.deepEqual(decompress("zstd", zstd(data, level), data.length), data);
  });
});

for (const { algorithm, compressed, data } of SAMPLES)
  describe(algorithm, () => {
    test("gives what it was made of", () => {
      assert.deepEqual(decompress(algorithm, compressed, data.length), data);
    });

    test("any part of it from the start", () => {
      for (const size of [0, 1, 4, 57, 58, 4096, data.length - 1, data.length])
        assert.deepEqual(decompress(algorithm, compressed, size, { isPartial: true }), data.subarray(0, size));
    });

    test("zeros before it", () => {
      const padded = new Uint8Array(4096);
      padded.set(compressed, 4096 - compressed.length);
      const options = { placement: "zeros-before" } as const;
      assert.deepEqual(decompress(algorithm, padded, data.length, options), data);
      assert.deepEqual(decompress(algorithm, padded, 1000, { ...options, isPartial: true }), data.subarray(0, 1000));
    });

    test("a rest after it", () => {
      for (const fill of [0, 0x5a]) {
        const padded = new Uint8Array(4096).fill(fill);
        padded.set(compressed);
        assert.deepEqual(decompress(algorithm, padded, data.length, { placement: "rest-after" }), data);
        // An LZ4 block has no end of its own, so what follows is more of it.
        assert.throws(() => decompress(algorithm, padded, data.length), isBroken(/./));
      }
    });

    test("more or less than promised, and input that is cut off, with its position", () => {
      assert.throws(() => decompress(algorithm, compressed, data.length + 1), isBroken(/yields 11400 bytes|too early/));
      assert.throws(
        () => decompress(algorithm, compressed, data.length - 1),
        isBroken(/yields more than 11399 bytes|last literals/),
      );
      const more = { isPartial: true } as const;
      assert.throws(() => decompress(algorithm, compressed, data.length + 1, more), isBroken(/yields|too early/));
      for (let size = 0; size < compressed.length; size++)
        assert.throws(() => decompress(algorithm, compressed.subarray(0, size), data.length), isBroken(/./));
      assert.throws(
        () =>
          decompress(algorithm, compressed.subarray(0, -1), data.length, {
            what: "cluster 7 of inode 40",
            offset: 8192,
          }),
        (error) =>
          error instanceof FormatError &&
          error.message.startsWith(`cluster 7 of inode 40: broken ${algorithm} stream at `) &&
          error.details.offset !== undefined &&
          error.details.offset >= 8192 &&
          error.details.offset <= 8192 + compressed.length,
      );
    });

    test("zeros, noise and changed bytes: a result or an error of ours", () => {
      const attempt = (input: Uint8Array, options: DecompressOptions): void => {
        try {
          decompress(algorithm, input, data.length, options);
        } catch (error) {
          if (!isAshlarError(error)) throw error;
        }
      };
      for (const size of [0, 1, 2, 5, 4096]) attempt(new Uint8Array(size), { placement: "zeros-before" });
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 200 }),
          fc.nat(compressed.length - 1),
          fc.boolean(),
          (noise, at, isPartial) => {
            attempt(noise, { isPartial });
            const changed = Uint8Array.from(compressed);
            changed.set(noise.subarray(0, compressed.length - at), at);
            attempt(changed, { isPartial });
            const flipped = Uint8Array.from(compressed);
            flipped[at]! ^= 1 << (noise.length % 8); // in range
            attempt(flipped, { isPartial });
          },
        ),
        { numRuns: 2000 },
      );
    });
  });

test("a window that the container limits", () => {
  const far = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 2_654_435_761) >>> 24);
  const data = new Uint8Array(40_000);
  data.set(far);
  data.set(far, 20_000);
  const windowSize = 8192;
  assert.deepEqual(decompress("deflate", deflateRawSync(data), data.length), data);
  assert.throws(() => decompress("deflate", deflateRawSync(data), data.length, { windowSize }), isBroken(/8192 bytes/));
  assert.throws(() => decompress("zstd", zstd(data), data.length, { windowSize }), isBroken(/window/));
  assert.throws(
    () => decompress("microlzma", MICROLZMA, TEXT.length, { windowSize: 50 }),
    isBroken(/a match reaches back 57 of 50 bytes/),
  );
});

test("zstd: a checksum that does not match, a dictionary, a reserved bit", () => {
  const frame = Uint8Array.from(zstd(TEXT, 3, true));
  const spoiled = Uint8Array.from(frame);
  spoiled[frame.length - 1]! ^= 1; // in range
  assert.throws(() => decompress("zstd", spoiled, TEXT.length), isBroken(/checksum/));
  const dictionary = Uint8Array.from(frame);
  dictionary[4]! |= 1; // the frame header descriptor
  assert.throws(() => decompress("zstd", dictionary, TEXT.length), {
    name: "UnsupportedError",
    code: "zstd-dictionary",
  });
  const reserved = Uint8Array.from(frame);
  reserved[4]! |= 8;
  assert.throws(() => decompress("zstd", reserved, TEXT.length), isBroken(/reserved/));
});

test("LZ4: the end-of-block conditions hold, and a match reaches back into the block only", () => {
  const literals = (count: number) => new Array<number>(count).fill(1);
  // Four literals and a match of four, then one literal more than the rules ask for, and one fewer.
  assert.equal(decompress("lz4", Uint8Array.of(0x40, ...literals(4), 1, 0, 0x80, ...literals(8)), 16).length, 16);
  assert.throws(
    () => decompress("lz4", Uint8Array.of(0x40, ...literals(4), 1, 0, 0x70, ...literals(7)), 15),
    isBroken(/last literals/),
  );
  for (const distance of [0, 5, 255])
    assert.throws(
      () => decompress("lz4", Uint8Array.of(0x40, ...literals(4), distance, 0, 0x80, ...literals(8)), 16),
      isBroken(/reaches back/),
    );
  assert.throws(
    () => decompress("lz4", Uint8Array.of(0xf0, ...new Array<number>(5000).fill(255)), 1e6),
    isBroken(/early/),
  );
});
