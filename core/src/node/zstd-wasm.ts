/**
 * The pinned WASM build of zstd, loaded once in each thread that compresses. Its own `init` must not run twice: the second
 * time it resolves before the new instance is there, and what is compressed meanwhile is garbage without any error (seen
 * in 0.0.27).
 */

import type { FrameMaker } from "../codecs/index.ts";

export type Compress = (bytes: Uint8Array, level: number) => Uint8Array;

function once<T>(work: () => Promise<T>): () => Promise<T> {
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

/** Levels up to here find their matches in the same places whatever a context did before (zstd's double-fast strategy). */
const MAX_REUSED_LEVEL = 3;

/**
 * Makers of frames, one for each run of frames that belong together. A context is some 150 µs, as much as a small frame, so
 * one is used again where that changes no byte; else each run has its own.
 */
export const loadFrameMaker: () => Promise<(level: number) => FrameMaker> = once(async () => {
  const { compressUsingDict, createCCtx, freeCCtx } = await loadLibrary();
  const none = new Uint8Array(0);
  let context: number | undefined;
  return (level) => {
    if (context !== undefined && level > MAX_REUSED_LEVEL) {
      freeCCtx(context);
      context = undefined;
    }
    context ??= createCCtx();
    const own = context;
    return { compress: (content, wanted) => compressUsingDict(own, content, none, wanted) };
  };
});

export const loadZstd: () => Promise<Compress> = once(async () => {
  const { compress } = await loadLibrary();
  return compress;
});
