/**
 * Compression of what goes into an image. Never node:zlib, whose bundled libraries change with Node: zstd is a WASM
 * build and gzip plain TypeScript, both pinned to exact versions, since their output is part of the format.
 */
import type { CompressContent, Compressors } from "../ops/environment.ts";
import { loadContentCompressor, loadZstd } from "./zstd-wasm.ts";

/** 31 MB of a Debian initrd: level 3 gives 11.8 MB in 0.35 s, 9 gives 10.7 MB in 1.4 s, 19 gives 9.6 MB in 13.6 s (measured). */
const ZSTD_LEVEL = 9;
/** fflate's default; used only for kernels that cannot read zstd. */
const GZIP_LEVEL = 6;

/** Each is loaded when it is first used: who seals content needs neither. */
export const nodeCompressors: Compressors = {
  async zstd(bytes) {
    const compress = await loadZstd();
    return compress(bytes, ZSTD_LEVEL);
  },
  async gzip(bytes) {
    const { gzipSync } = await import("fflate");
    return gzipSync(bytes, { level: GZIP_LEVEL, mtime: 0 });
  },
};

export const compressContent: CompressContent = async (content, options) => {
  const compress = await loadContentCompressor();
  return compress(content, ZSTD_LEVEL, options);
};
