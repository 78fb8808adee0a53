/** LZ4 blocks. Spec: lz4_Block_format.md of LZ4 1.9, its end-of-block conditions included. */
import { broken, type Stream, tooShort, yieldsLess, yieldsMore } from "./decompressor.ts";

const MIN_MATCH = 4;
/** Bytes at the end that must be literals. */
const LAST_LITERALS = 5;
/** A match starts no nearer to the end than this. */
const MATCH_FREE_END = 12;
/** Below as many bytes a loop beats the built-in copies, which cost a call (measured, Node 24). */
const SHORT_COPY = 32;

/** Fills `output`; returns where in the input the block ended. */
export function decodeLz4(stream: Stream, output: Uint8Array): number {
  const { bytes, start, isPartial, hasRest } = stream;
  const inputEnd = bytes.length;
  const end = output.length;
  const mayEndEarly = isPartial || hasRest;
  let from = start;
  let to = 0;
  if (end === 0 && mayEndEarly) return from;
  for (;;) {
    if (from >= inputEnd) throw to < end ? tooShort(stream) : broken(stream, from, "its last sequence has a match");
    const token = bytes[from++]!; // below inputEnd
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (from >= inputEnd) throw tooShort(stream);
        more = bytes[from++]!; // below inputEnd
        literals += more;
      } while (more === 255);
    }
    if (to + literals > end) {
      if (!isPartial) throw yieldsMore(stream, from, end);
      literals = end - to;
    }
    if (from + literals > inputEnd) throw tooShort(stream);
    if (literals < SHORT_COPY) for (let i = 0; i < literals; i++) output[to + i] = bytes[from + i]!;
    else output.set(bytes.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from === inputEnd || (mayEndEarly && to === end)) {
      if (to < end) throw yieldsLess(stream, from, to, end);
      return from;
    }
    if (inputEnd - from < 2) throw tooShort(stream);
    const distance = bytes[from]! | (bytes[from + 1]! << 8);
    if (distance === 0 || distance > to) throw broken(stream, from, `a match reaches back ${distance} of ${to} bytes`);
    from += 2;
    let size = token & 15;
    if (size === 15) {
      let more: number;
      do {
        if (from >= inputEnd) throw tooShort(stream);
        more = bytes[from++]!; // below inputEnd
        size += more;
      } while (more === 255);
    }
    size += MIN_MATCH;
    if (isPartial) {
      if (to + size >= end) {
        copyMatch(output, to, distance, end - to);
        return from;
      }
    } else if (to + size > end) throw yieldsMore(stream, from, end);
    else if (to + MATCH_FREE_END > end || to + size + LAST_LITERALS > end)
      throw broken(stream, from, "a match stands where the last literals must");
    copyMatch(output, to, distance, size);
    to += size;
  }
}

/** Copies `size` bytes from `distance` bytes before `to`; where they overlap, what was copied is copied again. */
export function copyMatch(output: Uint8Array, to: number, distance: number, size: number): void {
  if (size < SHORT_COPY) {
    for (let i = 0; i < size; i++) output[to + i] = output[to - distance + i]!; // the caller checked both
    return;
  }
  if (distance === 1) {
    output.fill(output[to - 1]!, to, to + size);
    return;
  }
  // Each round copies everything since the match's start: it doubles, so that short distances cost few calls.
  const from = to - distance;
  for (let done = 0; done < size; ) {
    const length = Math.min(distance + done, size - done);
    output.copyWithin(to + done, from, from + length);
    done += length;
  }
}
