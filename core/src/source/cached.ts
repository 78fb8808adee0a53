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
  const blocks = new Map<number, Uint8Array | Promise<Uint8Array>>(); // in order of last use
  const capacity = Math.max(1, Math.floor(maxBytes / blockSize));
  let newest = -1; // the last key of `blocks`

  function block(
    index: number,
    fetch: (start: number, length: number) => Uint8Array | Promise<Uint8Array>,
  ): Uint8Array | Promise<Uint8Array> {
    const known = blocks.get(index);
    if (known !== undefined) {
      if (index === newest) return known;
      blocks.delete(index);
      blocks.set(index, known);
      newest = index;
      return known;
    }
    const start = index * blockSize;
    const fetched = fetch(start, Math.min(blockSize, source.size - start));
    blocks.set(index, fetched);
    newest = index;
    if (fetched instanceof Promise)
      fetched.then(
        (bytes) => {
          if (blocks.get(index) === fetched) blocks.set(index, bytes);
        },
        () => blocks.delete(index), // a failure is not remembered
      );
    if (blocks.size > capacity) {
      const oldest = blocks.keys().next();
      if (!oldest.done) blocks.delete(oldest.value);
    }
    return fetched;
  }
  function fetchNow(start: number, length: number): Uint8Array | Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    return source.readInto!(start, bytes)?.then(() => bytes) ?? bytes; // only called where it is
  }
  return {
    size: source.size,
    async read(offset, length, options?: ReadOptions) {
      assertRange(offset, length, source.size);
      if (length === 0) return new Uint8Array(0);
      const fetch = (start: number, size: number) => source.read(start, size, options);
      const first = Math.floor(offset / blockSize);
      const last = Math.floor((offset + length - 1) / blockSize);
      if (first === last) {
        const bytes = await block(first, fetch);
        return bytes.subarray(offset - first * blockSize, offset - first * blockSize + length);
      }
      if (last - first >= capacity) return source.read(offset, length, options); // would only flush the cache
      const whole = new Uint8Array(length);
      for (let index = first; index <= last; index++) copyPart(await block(index, fetch), index, offset, whole);
      return whole;
    },
    readNow(offset, length) {
      assertRange(offset, length, source.size);
      const first = Math.floor(offset / blockSize);
      const last = Math.floor((offset + length - 1) / blockSize);
      if (source.readInto === undefined || length === 0 || last - first >= capacity) return undefined;
      if (first === last) {
        const bytes = block(first, fetchNow);
        if (bytes instanceof Promise) return undefined;
        return bytes.subarray(offset - first * blockSize, offset - first * blockSize + length);
      }
      const whole = new Uint8Array(length);
      for (let index = first; index <= last; index++) {
        const bytes = block(index, fetchNow);
        if (bytes instanceof Promise) return undefined;
        copyPart(bytes, index, offset, whole);
      }
      return whole;
    },
  };

  /** @param whole what is asked for from `offset` on */
  function copyPart(bytes: Uint8Array, index: number, offset: number, whole: Uint8Array): void {
    const start = index * blockSize;
    const from = Math.max(offset, start);
    const to = Math.min(offset + whole.length, start + bytes.length);
    whole.set(bytes.subarray(from - start, to - start), from - offset);
  }
}
