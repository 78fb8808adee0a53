/** Decompression that runs anywhere. */

import { assertEnd, type Decompressor, openStream, type Stream } from "./decompressor.ts";
import { decodeDeflate, deflateScratch } from "./deflate.ts";
import { createLz4Decoder, type Lz4Decoder } from "./lz4-decoder.ts";
import { decodeMicroLzma, PROBABILITIES } from "./microlzma.ts";
import { decodeZstd, zstdScratch } from "./zstd.ts";

/** Keeps the memory that it works in: some 100 kB, for LZ4 up to 20 MB. */
export function pureDecompressor(): Decompressor {
  let lz4: Lz4Decoder | undefined;
  let deflate: ReturnType<typeof deflateScratch> | undefined;
  let zstd: ReturnType<typeof zstdScratch> | undefined;
  let probabilities: Uint16Array | undefined;
  function decode(stream: Stream, output: Uint8Array): number {
    switch (stream.algorithm) {
      case "lz4":
        lz4 ??= createLz4Decoder();
        return lz4.decode(stream, output);
      case "microlzma":
        probabilities ??= new Uint16Array(PROBABILITIES);
        return decodeMicroLzma(stream, output, probabilities);
      case "deflate":
        deflate ??= deflateScratch();
        return decodeDeflate(stream, output, deflate);
      case "zstd":
        zstd ??= zstdScratch();
        return decodeZstd(stream, output, zstd);
    }
  }
  return {
    decompress(algorithm, input, output, options) {
      const stream = openStream(algorithm, input, options);
      assertEnd(stream, decode(stream, output));
    },
    buffer(algorithms, size) {
      if (!algorithms.includes("lz4")) return new Uint8Array(size);
      lz4 ??= createLz4Decoder();
      return lz4.buffer(size);
    },
  };
}
