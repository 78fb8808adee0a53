/**
 * The pinned WASM build of zstd, loaded once in each thread that compresses. Its own `init` must not run twice: the second
 * time it resolves before the new instance is there, and what is compressed meanwhile is garbage without any error (seen
 * in 0.0.27).
 */

export type Compress = (bytes: Uint8Array, level: number) => Uint8Array;

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= work();
    return result;
  };
}

export const loadZstd: () => Promise<Compress> = once(async () => {
  const { compress, init } = await import("@bokuweb/zstd-wasm"); // compiling it takes 0.1 s
  await init();
  return compress;
});
