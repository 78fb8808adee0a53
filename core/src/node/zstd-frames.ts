/**
 * Cuts a zstd stream at its frames, since Node's decompressor drops what follows the end of a frame within one write
 * (seen in Node 24.21). Spec: RFC 8878, section 3.1. Blocks are passed on unread; skippable frames are left out.
 */
import { FormatError, UnsupportedError } from "../errors/index.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50; // the low four bits are free
const CONTENT_SIZES = [0, 2, 4, 8] as const; // bytes, by the flag's value; 0 becomes 1 for a single segment
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

/** No chunk that comes out holds bytes of two frames. Errors: FormatError `truncated`, `bad-zstd`. */
export async function* splitZstdFrames(input: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  const chunks = input[Symbol.asyncIterator]();
  let chunk = new Uint8Array(0) as Uint8Array;
  let at = 0; // bytes of `chunk` that are read
  let from: number | undefined; // where the part of the frame in `chunk` starts; undefined outside of frames
  let start = 0; // position of `chunk` in the stream
  const ready: Uint8Array[] = [];

  function release(): void {
    // A copy, since asking for the next chunk may put it into the same memory.
    if (from !== undefined && at > from) ready.push(new Uint8Array(chunk.subarray(from, at)));
    if (from !== undefined) from = at;
  }
  async function fill(): Promise<boolean> {
    while (at >= chunk.length) {
      release();
      const next = await chunks.next();
      if (next.done) return false;
      start += chunk.length;
      chunk = next.value;
      at = 0;
      if (from !== undefined) from = 0;
    }
    return true;
  }
  function truncated(): FormatError {
    const offset = start + at;
    return new FormatError("truncated", `${what}: the zstd stream ends too early, at ${offset}`, { offset });
  }
  /** A few bytes of structure, little-endian. */
  async function take(size: number): Promise<number> {
    let value = 0;
    for (let i = 0; i < size; i++) {
      if (!(await fill())) throw truncated();
      value += chunk[at++]! * 256 ** i; // fill has made sure of the byte
    }
    return value;
  }
  async function pass(size: number): Promise<void> {
    for (let left = size; left > 0; ) {
      if (!(await fill())) throw truncated();
      const length = Math.min(left, chunk.length - at);
      at += length;
      left -= length;
    }
  }

  try {
    for (let isFirst = true; (await fill()) || isFirst; isFirst = false) {
      const offset = start + at;
      const magic = await take(4);
      if (magic - (magic % 16) === SKIPPABLE_MAGIC) {
        await pass(await take(4));
        continue;
      }
      if (magic !== MAGIC) throw new FormatError("bad-zstd", `${what}: no zstd frame at ${offset}`, { offset });
      yield Uint8Array.of(MAGIC & 0xff, (MAGIC >> 8) & 0xff, (MAGIC >> 16) & 0xff, MAGIC >>> 24);
      from = at;
      const descriptor = await take(1);
      const isSingleSegment = (descriptor & 0x20) !== 0;
      if ((descriptor & 3) !== 0)
        throw new UnsupportedError("zstd-dictionary", `${what}: the zstd stream needs a dictionary`);
      const contentSize = CONTENT_SIZES[(descriptor >> 6) as 0 | 1 | 2 | 3] || (isSingleSegment ? 1 : 0);
      await pass((isSingleSegment ? 0 : 1) + contentSize);
      for (let isLast = false; !isLast; ) {
        const word = await take(3);
        isLast = (word & 1) === 1;
        const type = (word >> 1) & 3;
        if (type === BLOCK_RESERVED)
          throw new FormatError("bad-zstd", `${what}: a zstd block of unknown type at ${start + at - 3}`, {
            offset: start + at - 3,
          });
        await pass(type === BLOCK_RLE ? 1 : word >> 3);
        yield* ready.splice(0);
      }
      if ((descriptor & 4) !== 0) await pass(4); // checksum
      release();
      from = undefined;
      yield* ready.splice(0);
    }
  } finally {
    await chunks.return?.();
  }
}
