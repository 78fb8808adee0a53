/** Frames of packs, fetched when a block of them is read, several by one request where reads go forward, and remembered. */
import type { ReadOptions } from "../../source/index.ts";
import type { DecompressFrame } from "../environment.ts";
import { unpackFrame } from "./damage.ts";
import type { StoredPack, StoredRoot } from "./stored-root.ts";

/** Bytes of blocks that are remembered. */
const CACHE_SIZE = 32 * 1024 * 1024;
/** Bytes of blocks that one request fetches at most. */
const MAX_READ = 4 * 1024 * 1024;
/** Places that reads may go on from. */
const MAX_STREAMS = 16;
/** Requests under way at a time. */
const PARALLEL = 4;

export interface FrameCache {
  /** Hands out `count` blocks of a pack from `first` on, a frame's at a time; `block` is the number of the first of them. */
  read(
    pack: number,
    first: number,
    count: number,
    options: ReadOptions | undefined,
    use: (block: number, blocks: Uint8Array) => void,
  ): Promise<void>;
  /** The blocks of a frame that is remembered. */
  peek(pack: number, frame: number): Promise<Uint8Array> | undefined;
}

export function frameCache(root: StoredRoot, decompressFrame: DecompressFrame): FrameCache {
  const { blockSize } = root.recipe.parameters;
  const known = new Map<string, Promise<Uint8Array>>(); // in order of last use
  const sizes = new Map<string, number>();
  let cached = 0; // bytes
  const waiting: (() => void)[] = [];
  let active = 0;
  /** Where requests ended that a later one may go on with, and how many frames they had; the last used last. */
  const streams = new Map<string, number>();

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (active >= PARALLEL) await new Promise<void>((resolve) => waiting.push(resolve));
    active++;
    try {
      return await work();
    } finally {
      active--;
      waiting.shift()?.();
    }
  }

  function remember(key: string, frame: Promise<Uint8Array>, size: number): void {
    known.set(key, frame);
    sizes.set(key, size);
    cached += size;
    frame.catch(() => forget(key)); // a failure is not remembered
    while (cached > CACHE_SIZE && known.size > 1) forget(known.keys().next().value!); // not empty
  }

  function forget(key: string): void {
    cached -= sizes.get(key) ?? 0;
    sizes.delete(key);
    known.delete(key);
  }

  /** Frames in a row, by one request. */
  function* fetch(
    { pack, source }: StoredPack,
    index: number,
    first: number,
    count: number,
    options: ReadOptions | undefined,
  ): Generator<Promise<Uint8Array>> {
    const start = pack.frame(first);
    const end = pack.frame(first + count - 1);
    const bytes = inTurn(() => source.read(start.offset, end.offset + end.size - start.offset, options));
    for (let i = first; i < first + count; i++) {
      const { offset, size, blocks } = pack.frame(i);
      const frame = bytes.then((all) => {
        const stored = all.subarray(offset - start.offset, offset - start.offset + size);
        return unpackFrame(decompressFrame, pack, stored, blocks, `${root.packName(index)}: frame ${i}`);
      });
      remember(`${index}:${i}`, frame, blocks * blockSize);
      yield frame;
    }
  }

  /** How many frames to ask for where `frame` is the first that is missing: twice as many each time that reads go on. */
  function reachOf(index: number, frame: number, most: number): number {
    const key = `${index}:${frame}`;
    const reach = Math.min((streams.get(key) ?? 0.5) * 2, most);
    streams.delete(key);
    return reach;
  }

  function leaveOff(index: number, frame: number, reach: number): void {
    streams.set(`${index}:${frame}`, reach);
    if (streams.size > MAX_STREAMS) streams.delete(streams.keys().next().value!); // not empty
  }

  /** Frames that one request fetches at most. */
  function framesRead({ pack }: StoredPack): number {
    return Math.max(1, MAX_READ / (pack.blocksPerFrame * blockSize));
  }

  /** The frames `from` … `to` in order. What is missing is asked for at once, before anything is waited for. */
  function frames(stored: StoredPack, index: number, from: number, to: number, options: ReadOptions | undefined) {
    const found: Promise<Uint8Array>[] = [];
    const most = framesRead(stored);
    for (let at = from; at <= to; ) {
      const key = `${index}:${at}`;
      const there = known.get(key);
      if (there !== undefined) {
        known.delete(key);
        known.set(key, there);
        found.push(there);
        at++;
        continue;
      }
      const reach = reachOf(index, at, most);
      const end = Math.min(stored.pack.frameCount, Math.max(at + reach, to + 1), at + most);
      let stop = at + 1;
      while (stop < end && !known.has(`${index}:${stop}`)) stop++;
      found.push(...fetch(stored, index, at, stop - at, options));
      if (stop === end) leaveOff(index, stop, Math.max(reach, 1));
      at = stop;
    }
    return found.slice(0, to - from + 1);
  }

  return {
    peek: (pack, frame) => known.get(`${pack}:${frame}`),
    async read(index, first, count, options, use) {
      const stored = await root.openPack(index);
      const { blocksPerFrame } = stored.pack;
      const from = Math.floor(first / blocksPerFrame);
      const to = Math.floor((first + count - 1) / blocksPerFrame);
      const most = framesRead(stored);
      for (let window = from; window <= to; window += most) {
        const end = Math.min(to, window + most - 1);
        for (const [offset, pending] of frames(stored, index, window, end, options).entries()) {
          const frame = window + offset;
          const blocks = await pending;
          const start = Math.max(first, frame * blocksPerFrame);
          const stop = Math.min(first + count, (frame + 1) * blocksPerFrame);
          const at = start - frame * blocksPerFrame;
          use(start, blocks.subarray(at * blockSize, (at + stop - start) * blockSize));
        }
      }
    },
  };
}
