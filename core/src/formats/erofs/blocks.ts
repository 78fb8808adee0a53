/** Forward output in whole blocks: gathers small pieces into chunks and writes one chunk while the next one fills. */
import type { RandomSink } from "../../source/index.ts";

/** Bytes handed to the sink at once; a multiple of every block size. */
export const CHUNK_SIZE = 1024 * 1024;

/**
 * `append` and `zeros` return a promise only when the caller has to wait; awaiting undefined for each of a
 * hundred thousand small pieces costs more than copying them.
 */
export interface BlockWriter {
  /** Bytes from the start of the image. */
  readonly position: number;
  /** Copies `bytes`. */
  append(bytes: Uint8Array): Promise<void> | undefined;
  /** Has `length` bytes put in place by `fill`: the parts from byte `at` on into the `target` that it is given. */
  fill(length: number, fill: (target: Uint8Array, at: number) => Promise<void> | undefined): Promise<void> | undefined;
  /** Zeros up to `position`. */
  zerosUpTo(position: number): Promise<void> | undefined;
  /** Writes what is left; the position must be at the end of a block. */
  finish(): Promise<void>;
}

export function blockWriter(
  sink: RandomSink,
  start: number,
  options: { readonly blockSize: number; readonly signal?: AbortSignal | undefined },
): BlockWriter {
  let filling = new Uint8Array(CHUNK_SIZE);
  let spare = new Uint8Array(CHUNK_SIZE);
  let used = 0;
  let chunkStart = start;
  let writing: Promise<void> = Promise.resolve();

  /** Starts writing the filled chunk once the one before it is written. */
  async function flush(): Promise<void> {
    await writing;
    options.signal?.throwIfAborted();
    writing = sink.writeAt(chunkStart, filling.subarray(0, used));
    writing.catch(() => {}); // thrown to whoever awaits it next, not to the host
    [filling, spare] = [spare, filling];
    chunkStart += used;
    used = 0;
  }
  async function appendMany(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, CHUNK_SIZE - used);
      filling.set(bytes.subarray(at, at + length), used);
      used += length;
      at += length;
      if (used === CHUNK_SIZE) await flush();
    }
  }
  async function fillMany(length: number, fill: Parameters<BlockWriter["fill"]>[1]): Promise<void> {
    for (let at = 0; at < length; ) {
      const size = Math.min(length - at, CHUNK_SIZE - used);
      await fill(filling.subarray(used, used + size), at);
      used += size;
      at += size;
      if (used === CHUNK_SIZE) await flush();
    }
  }
  async function zerosMany(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const length = Math.min(left, CHUNK_SIZE - used);
      filling.fill(0, used, used + length);
      used += length;
      left -= length;
      if (used === CHUNK_SIZE) await flush();
    }
  }
  return {
    get position() {
      return chunkStart + used;
    },
    append(bytes) {
      if (used + bytes.length >= CHUNK_SIZE) return appendMany(bytes);
      filling.set(bytes, used);
      used += bytes.length;
      return undefined;
    },
    fill(length, fill) {
      if (used + length >= CHUNK_SIZE) return fillMany(length, fill);
      const filled = fill(filling.subarray(used, used + length), 0);
      if (filled !== undefined)
        return filled.then(() => {
          used += length;
        });
      used += length;
      return undefined;
    },
    zerosUpTo(position) {
      const count = position - chunkStart - used;
      if (count < 0) throw new RangeError(`cannot go back to ${position}`);
      if (used + count >= CHUNK_SIZE) return zerosMany(count);
      filling.fill(0, used, used + count);
      used += count;
      return undefined;
    },
    async finish() {
      if (used % options.blockSize !== 0) throw new RangeError(`${used} bytes left are not whole blocks`);
      if (used > 0) await flush();
      await writing;
    },
  };
}
