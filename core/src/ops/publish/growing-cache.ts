/** A cache that asks for more at once the longer reads go forward: one block where somebody looks, many where all is read. */
import { assertRange, type ReadOptions, type Source } from "../../source/index.ts";

export interface GrowingCacheOptions {
  /** Bytes of one remembered block. */
  readonly blockSize: number;
  /** Blocks that are asked for at once at most. */
  readonly maxReach: number;
  /** Blocks kept at most. */
  readonly capacity: number;
}

export function growingCache(source: Source, { blockSize, maxReach, capacity }: GrowingCacheOptions): Source {
  const blocks = new Map<number, Promise<Uint8Array>>(); // in order of last use
  const count = Math.ceil(source.size / blockSize);
  let next = -1; // the block behind the last that was asked for
  let reach = 1;

  function fetch(first: number, options: ReadOptions | undefined): void {
    reach = first === next ? Math.min(reach * 2, maxReach) : 1;
    let stop = first + 1;
    while (stop < Math.min(count, first + reach) && !blocks.has(stop)) stop++;
    next = stop;
    const start = first * blockSize;
    const bytes = source.read(start, Math.min(stop * blockSize, source.size) - start, options);
    for (let index = first; index < stop; index++) {
      const at = (index - first) * blockSize;
      const block = bytes.then((all) => all.subarray(at, at + blockSize));
      block.catch(() => blocks.delete(index)); // a failure is not remembered
      blocks.set(index, block);
    }
  }

  function block(index: number, options: ReadOptions | undefined): Promise<Uint8Array> {
    if (!blocks.has(index)) fetch(index, options);
    const found = blocks.get(index)!; // there now
    blocks.delete(index);
    blocks.set(index, found);
    while (blocks.size > capacity) blocks.delete(blocks.keys().next().value!); // not empty
    return found;
  }

  return {
    size: source.size,
    async read(offset, length, options) {
      assertRange(offset, length, source.size);
      const whole = new Uint8Array(length);
      for (let index = Math.floor(offset / blockSize); index * blockSize < offset + length; index++) {
        const bytes = await block(index, options);
        const start = index * blockSize;
        const from = Math.max(offset, start);
        const to = Math.min(offset + length, start + bytes.length);
        if (from < to) whole.set(bytes.subarray(from - start, to - start), from - offset);
      }
      return whole;
    },
  };
}
