/**
 * The pinned WASM build of zstd, loaded once in each thread that compresses. Its own `init` must not run twice: the second
 * time it resolves before the new instance is there, and what is compressed meanwhile is garbage without any error (seen
 * in 0.0.27).
 */

import { passingChunksOf, type ReadOptions, type Source } from "../source/index.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { loadZstdModule } from "./own-files.ts";

export type Compress = (bytes: Uint8Array, level: number) => Uint8Array;

export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= work();
    return result;
  };
}

/** The library, with its memory in place. */
export const loadLibrary = once(async () => {
  const library = await import("@bokuweb/zstd-wasm"); // compiling it takes 0.1 s
  await library.init();
  return library;
});

export const loadZstd: () => Promise<Compress> = once(async () => {
  const { compress } = await loadLibrary();
  return compress;
});

/** The library's memory and its own functions, which take addresses in it; 0 is none. */
export interface ZstdMemory {
  /** Another one whenever the memory has grown. */
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(address: number): void;
  _ZSTD_compressBound(size: number): number;
  /** Bytes of the frame, or more than any frame has for an error. */
  _ZSTD_compress(target: number, capacity: number, content: number, size: number, level: number): number;
}

/**
 * The frame that {@link loadZstd} makes, of content that goes into the library's memory as it is read: it is held once and
 * not twice. 27 MB of an initrd take 65 MB so (measured, level 9).
 */
export const loadContentCompressor: () => Promise<
  (content: Source, level: number, options?: ReadOptions) => Promise<Uint8Array>
> = once(async () => {
  await loadLibrary();
  const library = loadZstdModule() as ZstdMemory;
  return async (content, level, options) => {
    collectGarbage(); // an update has some 50 MB of it by then, and the memory of WASM would come on top
    const capacity = library._ZSTD_compressBound(content.size);
    const [target, source] = [library._malloc(capacity), library._malloc(content.size)];
    try {
      if (target === 0 || source === 0) throw new RangeError(`no memory to compress ${content.size} bytes`);
      let at = source;
      for await (const chunk of passingChunksOf(content, options)) {
        library.HEAPU8.set(chunk, at);
        at += chunk.length;
      }
      collectGarbage(); // of the reads
      const size = library._ZSTD_compress(target, capacity, source, content.size, level) >>> 0; // size_t
      if (size > capacity) throw new Error(`zstd failed with ${size - 2 ** 32}`);
      return library.HEAPU8.slice(target, target + size);
    } finally {
      library._free(target);
      library._free(source);
    }
  };
});
