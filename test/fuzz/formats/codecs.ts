// Compressed blocks.
import { deflateRawSync, zstdCompressSync } from "node:zlib";
import { type CompressionAlgorithm, type DecompressOptions, pureDecompressor } from "../../../core/src/codecs/index.ts";
import { isAshlarError } from "../../../core/src/errors/index.ts";
import { nativeDecompressor } from "../../../core/src/node/index.ts";
import { mutateBytes, type Random } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";

/** Bytes; far more than any seed yields. */
const OUTPUT_SIZE = 1024 * 1024;

const TEXT = Buffer.from(Array.from({ length: 3000 }, (_, i) => `${(i * 7919) % 1013} ${i % 17}`).join("\n"));

/** Short literals and matches in turn. */
function lz4Seed(): Uint8Array {
  const sequence = (i: number) => [0x44, 1, i & 255, 3, 4, 1 + (i % 4), 0];
  return Uint8Array.from([...Array.from({ length: 500 }, (_, i) => sequence(i)).flat(), 0x80, 1, 2, 3, 4, 5, 6, 7, 8]);
}

/** A cluster of mkfs.erofs -zlzma, without its zeros. */
const MICROLZMA = Buffer.from(
  "a2209b800613d7ab919577d6c63fae0d21abf7aaf943fcbee87c4515acf95ba35c2014b82489ce53077389432ef6228c63e363dcf795b518" +
    "3576b818f010e1ca8db906a691952b4bf3966f1f72a0854205bf76c9e666302224f00afdc37fd5f6f382c78600",
  "hex",
);

const SEEDS: readonly (readonly [CompressionAlgorithm, Uint8Array, number])[] = [
  ["lz4", lz4Seed(), 500 * 12 + 8],
  ["microlzma", Uint8Array.from(MICROLZMA), 11_400],
  ["deflate", Uint8Array.from(deflateRawSync(TEXT)), TEXT.length],
  ["zstd", Uint8Array.from(zstdCompressSync(TEXT)), TEXT.length],
];

const pure = pureDecompressor();
const native = nativeDecompressor();

/** Ways of reading that the seed is not made for: refused by an error of ours, or not. */
function attempt(algorithm: CompressionAlgorithm, bytes: Uint8Array, size: number, options: DecompressOptions): void {
  try {
    pure.decompress(algorithm, bytes, new Uint8Array(size), options);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
  }
}

export const CODEC_PARSERS: readonly Parser[] = SEEDS.map(([algorithm, seed, size]) => ({
  name: `${algorithm} block`,
  mutants: (random: Random) => mutateBytes(seed, [], random),
  *shapes() {
    yield { what: "as it is", bytes: seed };
    yield { what: "nothing", bytes: new Uint8Array(0) };
    for (const byte of [0, 1, 0x0f, 0xf0, 0xff]) yield { what: `${byte}s`, bytes: new Uint8Array(1 << 20).fill(byte) };
  },
  async read(bytes) {
    attempt(algorithm, bytes, 100, { placement: "zeros-before", isPartial: true });
    attempt(algorithm, bytes, OUTPUT_SIZE, { placement: "rest-after" });
    const output = new Uint8Array(size);
    pure.decompress(algorithm, bytes, output);
    const other = new Uint8Array(size);
    native.decompress(algorithm, bytes, other);
    if (!Buffer.from(output.buffer).equals(other)) throw new TypeError("ours and Node's differ");
  },
}));
