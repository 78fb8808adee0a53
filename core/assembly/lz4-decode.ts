/**
 * LZ4 blocks, decoded: AssemblyScript, compiled by scripts/lib/wasm.ts into src/codecs/lz4-decode-wasm.ts. Does what
 * decodeLz4 of src/codecs/lz4.ts does, five times as fast (measured, Node 24.21), and says of what is broken only that it is.
 *
 * Literals and matches are copied sixteen and eight bytes at a time, beyond their ends: SLACK lies behind every buffer, and
 * what stood behind the output stands there again afterwards. Whoever calls keeps to the buffers; everything that comes from
 * the block is checked here.
 */

/** Bytes; the largest cluster of EROFS. */
export const INPUT_CAPACITY: u32 = 1048576;
/** Bytes; the most that such a cluster may yield. */
export const OUTPUT_CAPACITY: u32 = 12582912;
export const SLACK: u32 = 64;
export const INPUT: u32 = 1024;
export const OUTPUT: u32 = INPUT + INPUT_CAPACITY + SLACK;
/** Where callers have buffers of their own, from which and to which nothing is copied: SLACK behind all of them. */
export const ARENA: u32 = OUTPUT + OUTPUT_CAPACITY + SLACK;
/** Bytes. */
export const ARENA_CAPACITY: u32 = 6291456;
/** Bytes of memory. */
export const END: u32 = ARENA + ARENA_CAPACITY + SLACK;

const MIN_MATCH: u32 = 4;
const LAST_LITERALS: u32 = 5;
const MATCH_FREE_END: u32 = 12;
/** From as many bytes on the host's own copy is worth its call. */
const LONG_COPY: u32 = 256;

function copy16(to: u32, from: u32): void {
  v128.store(to, v128.load(from));
}

/** Literals never overlap with where they go. */
function copyLiterals(to: u32, from: u32, size: u32): void {
  copy16(to, from);
  if (size <= 16) return;
  if (size >= LONG_COPY) {
    memory.copy(to, from, size);
    return;
  }
  const end = to + size;
  for (to += 16, from += 16; to < end; to += 16, from += 16) copy16(to, from);
}

function copyMatch(to: u32, distance: u32, size: u32): void {
  const end = to + size;
  let from = to - distance;
  if (distance >= 16) {
    if (size >= LONG_COPY && distance >= size) {
      memory.copy(to, from, size);
      return;
    }
    for (; to < end; to += 16, from += 16) copy16(to, from);
    return;
  }
  if (distance < 8) {
    // Eight bytes one by one; then from a whole number of periods, at least eight bytes, before.
    for (let i: u32 = 0; i < 8; i++) store<u8>(to + i, load<u8>(from + i));
    to += 8;
    from = to - distance * ((7 + distance) / distance);
  }
  for (; to < end; to += 8, from += 8) store<u64>(to, load<u64>(from));
}

/**
 * The content of a sequence that is far from both ends: after its literals, or its match, as many bytes of the block and of
 * the content are left. The first is more than a token, fourteen literals, a distance and one more byte of a length take; the
 * second more than a match of eighteen bytes and the literals that must follow it.
 */
const FAR_INPUT: u32 = 32;
const FAR_OUTPUT: u32 = 64;

function decodeBlock(input: u32, inputEnd: u32, output: u32, end: u32, isPartial: bool, hasRest: bool): i32 {
  const mayEndEarly = isPartial || hasRest;
  const farInput = inputEnd - FAR_INPUT;
  const farOutput = end - FAR_OUTPUT;
  let from = input;
  let to = output;
  if (output === end && mayEndEarly) return 0;
  while (from < inputEnd) {
    // Most sequences are far from both ends and have no length of more than one byte: they need no other bound.
    while (from <= farInput && to <= farOutput) {
      const token = <u32>load<u8>(from);
      let literals = token >> 4;
      let next = from + 1;
      let at = to;
      v128.store(at, v128.load(next));
      if (literals === 15) {
        literals += <u32>load<u8>(next++);
        if (literals === 15 + 255 || next + literals > farInput || at + literals > farOutput) break;
        for (let done: u32 = 0; done < literals; done += 16) v128.store(at + done, v128.load(next + done));
      }
      next += literals;
      at += literals;
      const distance = <u32>load<u16>(next);
      if (distance - 1 >= at - output) return -1; // 0 too, which wraps around
      next += 2;
      let match = (token & 15) + MIN_MATCH;
      if (match === 15 + MIN_MATCH) {
        match += <u32>load<u8>(next++);
        if (match === 15 + MIN_MATCH + 255 || at + match > farOutput) break;
        copyMatch(at, distance, match);
      } else if (distance >= 16) {
        v128.store(at, v128.load(at - distance));
        store<u16>(at, load<u16>(at - distance, 16), 16);
      } else if (distance >= 8) {
        store<u64>(at, load<u64>(at - distance));
        store<u64>(at, load<u64>(at - distance, 8), 8);
        store<u16>(at, load<u16>(at - distance, 16), 16);
      } else copyMatch(at, distance, match);
      from = next;
      to = at + match;
    }
    const token = <u32>load<u8>(from++);
    let literals = token >> 4;
    if (literals === 15) {
      let more: u32;
      do {
        if (from >= inputEnd) return -1;
        more = <u32>load<u8>(from++);
        literals += more;
      } while (more === 255);
    }
    if (literals > end - to) {
      if (!isPartial) return -1;
      literals = end - to;
    }
    if (literals > inputEnd - from) return -1;
    copyLiterals(to, from, literals);
    from += literals;
    to += literals;
    if (from === inputEnd || (mayEndEarly && to === end)) return to === end ? from - input : -1;
    if (inputEnd - from < 2) return -1;
    const distance = <u32>load<u16>(from);
    if (distance === 0 || distance > to - output) return -1;
    from += 2;
    let match = token & 15;
    if (match === 15) {
      let more: u32;
      do {
        if (from >= inputEnd) return -1;
        more = <u32>load<u8>(from++);
        match += more;
      } while (more === 255);
    }
    match += MIN_MATCH;
    if (isPartial) {
      if (match >= end - to) {
        copyMatch(to, distance, end - to);
        return from - input;
      }
    } else if (match + LAST_LITERALS > end - to || MATCH_FREE_END > end - to) return -1;
    copyMatch(to, distance, match);
    to += match;
  }
  return -1;
}

/** Bytes of input used, or -1 where the block is broken or does not yield `outputSize` bytes. @param input, output addresses */
export function decode(input: u32, size: u32, output: u32, outputSize: u32, isPartial: bool, hasRest: bool): i32 {
  const end = output + outputSize;
  const a = v128.load(end);
  const b = v128.load(end, 16);
  const c = v128.load(end, 32);
  const d = v128.load(end, 48);
  const used = decodeBlock(input, input + size, output, end, isPartial, hasRest);
  v128.store(end, a);
  v128.store(end, b, 16);
  v128.store(end, c, 32);
  v128.store(end, d, 48);
  return used;
}
