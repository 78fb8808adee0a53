/** A window over a slow source: remembers aligned blocks, so that small neighbouring reads become one. */
import { assertRange, type ReadOptions, type Source } from "./source.ts";

export interface CacheOptions {
  /** Bytes of one remembered block. */
  readonly blockSize: number;
  /** Bytes kept at most; at least one block is. */
  readonly maxBytes: number;
}

/** Least recently used blocks go first. A read that spans many blocks fetches each missing block once. */
export function cachedSource(source: Source, { blockSize, maxBytes }: CacheOptions): Source {
  const blocks = new Map<number, Promise<Uint8Array>>(); // in order of last use
  const capacity = Math.max(1, Math.floor(maxBytes / blockSize));
  function block(index: number, options: ReadOptions | undefined): Promise<Uint8Array> {
    const known = blocks.get(index);
    if (known !== undefined) {
      blocks.delete(index);
      blocks.set(index, known);
      return known;
    }
    const start = index * blockSize;
    const fetched = source.read(start, Math.min(blockSize, source.size - start), options);
    blocks.set(index, fetched);
    fetched.catch(() => blocks.delete(index)); // a failure is not remembered
    if (blocks.size > capacity) {
      const oldest = blocks.keys().next();
      if (!oldest.done) blocks.delete(oldest.value);
    }
    return fetched;
  }
  return {
    size: source.size,
    async read(offset, length, options) {
      assertRange(offset, length, source.size);
      if (length === 0) return new Uint8Array(0);
      const first = Math.floor(offset / blockSize);
      const last = Math.floor((offset + length - 1) / blockSize);
      if (first === last) {
        const bytes = await block(first, options);
        return bytes.subarray(offset - first * blockSize, offset - first * blockSize + length);
      }
      if (last - first >= capacity) return source.read(offset, length, options); // would only flush the cache
      const whole = new Uint8Array(length);
      for (let index = first; index <= last; index++) {
        const bytes = await block(index, options);
        const start = index * blockSize;
        const from = Math.max(offset, start);
        const to = Math.min(offset + length, start + bytes.length);
        whole.set(bytes.subarray(from - start, to - start), from - offset);
      }
      return whole;
    },
  };
}
