/** The entropy coding of zstd: FSE tables and Huffman trees. Spec: RFC 8878, section 4. */
import { broken, type Stream } from "./decompressor.ts";

/** Bytes that may be read behind a bit stream without leaving its array. */
export const BIT_READ_SLACK = 8;

/** A state machine; a state is an index into the arrays. */
export interface FseTable {
  accuracyLog: number;
  readonly symbols: Uint8Array;
  /** Bits to read for the next state, and what to add to them. */
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

export function newFseTable(maxAccuracyLog: number): FseTable {
  const size = 1 << maxAccuracyLog;
  return { accuracyLog: 0, symbols: new Uint8Array(size), bits: new Uint8Array(size), bases: new Uint16Array(size) };
}

/** Section 4.1.1. `counts`: of each symbol, -1 for "less than one"; they sum up to the size of the table. */
export function buildFseTable(table: FseTable, counts: Int16Array | readonly number[], accuracyLog: number): void {
  const size = 1 << accuracyLog;
  const { symbols, bits, bases } = table;
  table.accuracyLog = accuracyLog;
  const next = new Uint16Array(counts.length);
  let high = size - 1;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === -1) {
      symbols[high--] = symbol;
      next[symbol] = 1;
    } else next[symbol] = counts[symbol]!; // in range
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let place = 0;
  for (let symbol = 0; symbol < counts.length; symbol++)
    for (let i = 0; i < counts[symbol]!; i++) {
      symbols[place] = symbol;
      do place = (place + step) & (size - 1);
      while (place > high);
    }
  for (let state = 0; state < size; state++) {
    const value = next[symbols[state]!]!++; // every state has a symbol by now
    const count = accuracyLog - (31 - Math.clz32(value));
    bits[state] = count;
    bases[state] = (value << count) - size;
  }
}

/** A table of one state. */
export function buildRleTable(table: FseTable, symbol: number): void {
  table.accuracyLog = 0;
  table.symbols[0] = symbol;
  table.bits[0] = 0;
  table.bases[0] = 0;
}

/** Reads a table's description at `at`, at most to `end`; returns where it ended. Section 4.1.1. */
export function readFseTable(
  stream: Stream,
  bytes: Uint8Array,
  at: number,
  end: number,
  table: FseTable,
  limits: { readonly accuracyLog: number; readonly symbols: number },
): number {
  let position = at * 8;
  const take = (count: number): number => {
    const index = position >>> 3;
    const word = bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16); // the slack is behind
    position += count;
    return (word >> ((position - count) & 7)) & ((1 << count) - 1);
  };
  const accuracyLog = take(4) + 5;
  if (accuracyLog > limits.accuracyLog) throw broken(stream, at, `a table of 2^${accuracyLog} states is too large`);
  const counts: number[] = [];
  let left = (1 << accuracyLog) + 1; // as in the reference: one more than what is left
  let threshold = 1 << accuracyLog;
  let width = accuracyLog + 1;
  while (left > 1) {
    if (counts.length >= limits.symbols || position >= end * 8)
      throw broken(stream, at, "a table has too many symbols");
    const saved = 2 * threshold - 1 - left; // values below it take a bit less
    let value = take(width - 1);
    if (value >= saved) {
      position -= width - 1;
      value = take(width);
      if (value >= threshold) value -= saved;
    }
    const count = value - 1;
    counts.push(count);
    left -= Math.abs(count);
    if (left < 1) throw broken(stream, at, "a table's counts are more than its states");
    if (count === 0)
      for (let repeat = 3; repeat === 3; ) {
        repeat = take(2);
        for (let i = 0; i < repeat; i++) counts.push(0);
        if (counts.length > limits.symbols || position > end * 8)
          throw broken(stream, at, "a table has too many symbols");
      }
    while (left < threshold) {
      width--;
      threshold >>= 1;
    }
  }
  const after = (position + 7) >>> 3;
  if (after > end) throw broken(stream, at, "a table is cut off");
  buildFseTable(table, counts, accuracyLog);
  return after;
}

/** Bits of the stream in [start, end), which is read from its end: the last set bit only marks where. */
export function backwardBits(stream: Stream, bytes: Uint8Array, start: number, end: number): number {
  const last = end > start ? bytes[end - 1]! : 0; // in range
  if (last === 0) throw broken(stream, end, "a bit stream has no end mark");
  return (end - start) * 8 - (Math.clz32(last) - 23);
}

/** `count` bits, at most 24, of which the lowest is bit `position` of the stream at `start`; bits before it are zero. */
export function bitsAt(bytes: Uint8Array, start: number, position: number, count: number): number {
  if (position < 0) {
    const missing = -position;
    return missing >= count ? 0 : bitsAt(bytes, start, 0, count - missing) << missing;
  }
  const index = start + (position >>> 3);
  const word = bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
  return (word >>> (position & 7)) & ((1 << count) - 1);
}

const MAX_HUFFMAN_BITS = 11;
const MAX_WEIGHT_ACCURACY = 6;

/** A Huffman tree as a table by the next `bits` bits: symbol × 16 + length. */
export interface HuffmanTable {
  /** 0: there is none yet. */
  bits: number;
  readonly entries: Uint16Array;
  readonly weights: Uint8Array;
  readonly weightTable: FseTable;
}

export function newHuffmanTable(): HuffmanTable {
  return {
    bits: 0,
    entries: new Uint16Array(1 << MAX_HUFFMAN_BITS),
    weights: new Uint8Array(256 + 2),
    weightTable: newFseTable(MAX_WEIGHT_ACCURACY),
  };
}

/** Reads a tree's description at `at`; returns where it ended. Section 4.2.1. */
export function readHuffmanTable(
  stream: Stream,
  bytes: Uint8Array,
  at: number,
  end: number,
  table: HuffmanTable,
): number {
  if (at >= end) throw broken(stream, at, "a Huffman tree is cut off");
  const header = bytes[at]!; // in range
  const { weights } = table;
  let count: number;
  let after: number;
  if (header >= 128) {
    count = header - 127;
    after = at + 1 + ((count + 1) >> 1);
    if (after > end) throw broken(stream, at, "a Huffman tree is cut off");
    for (let i = 0; i < count; i++) {
      const byte = bytes[at + 1 + (i >> 1)]!; // before `after`
      weights[i] = i % 2 === 0 ? byte >> 4 : byte & 15;
    }
  } else {
    after = at + 1 + header;
    if (after > end) throw broken(stream, at, "a Huffman tree is cut off");
    count = readWeights(stream, bytes, at + 1, after, table);
  }
  buildHuffmanTable(stream, at, table, count);
  return after;
}

/** Two states take turns until the bits are used up. */
function readWeights(stream: Stream, bytes: Uint8Array, at: number, end: number, table: HuffmanTable): number {
  const { weightTable, weights } = table;
  const limits = { accuracyLog: MAX_WEIGHT_ACCURACY, symbols: 16 };
  const start = readFseTable(stream, bytes, at, end, weightTable, limits);
  let position = backwardBits(stream, bytes, start, end);
  const take = (count: number): number => {
    position -= count;
    return bitsAt(bytes, start, position, count);
  };
  let state = take(weightTable.accuracyLog);
  let other = take(weightTable.accuracyLog);
  if (position < 0) throw broken(stream, start, "weights of a Huffman tree are cut off");
  for (let count = 0; ; ) {
    if (count > 253) throw broken(stream, start, "a Huffman tree has too many symbols");
    weights[count++] = weightTable.symbols[state]!; // states are in range
    const next = weightTable.bases[state]! + take(weightTable.bits[state]!);
    if (position < 0) {
      weights[count++] = weightTable.symbols[other]!;
      return count;
    }
    state = other;
    other = next;
  }
}

/** The last symbol's weight is what makes the sum a power of two. */
function buildHuffmanTable(stream: Stream, at: number, table: HuffmanTable, count: number): void {
  const { weights, entries } = table;
  const ranks = new Uint16Array(MAX_HUFFMAN_BITS + 2);
  let sum = 0;
  for (let symbol = 0; symbol < count; symbol++) {
    const weight = weights[symbol]!; // in range
    if (weight > MAX_HUFFMAN_BITS) throw broken(stream, at, `a Huffman code of weight ${weight}`);
    if (weight > 0) sum += 1 << (weight - 1);
    ranks[weight]!++;
  }
  const bits = sum === 0 ? 0 : 32 - Math.clz32(sum);
  const left = (1 << bits) - sum;
  if (bits === 0 || bits > MAX_HUFFMAN_BITS || (left & (left - 1)) !== 0)
    throw broken(stream, at, "a Huffman tree is not complete");
  const last = 32 - Math.clz32(left);
  weights[count] = last;
  ranks[last]!++;
  // Two codes of the greatest length at least, and an even number of them, as in the reference.
  if (ranks[1]! < 2 || ranks[1]! % 2 !== 0) throw broken(stream, at, "a Huffman tree is not complete");
  const places = new Uint16Array(MAX_HUFFMAN_BITS + 2);
  for (let weight = 1, place = 0; weight <= bits; weight++) {
    places[weight] = place;
    place += ranks[weight]! << (weight - 1);
  }
  for (let symbol = 0; symbol <= count; symbol++) {
    const weight = weights[symbol]!; // in range
    if (weight === 0) continue;
    const place = places[weight]!; // weight is at most `bits`
    const size = 1 << (weight - 1);
    entries.fill((symbol << 4) | (bits + 1 - weight), place, place + size);
    places[weight] = place + size;
  }
  table.bits = bits;
}

/** Decodes the Huffman stream in [start, end) of `bytes` into [to, toEnd) of `output`. */
export function decodeHuffman(
  stream: Stream,
  bytes: Uint8Array,
  start: number,
  end: number,
  table: HuffmanTable,
  output: Uint8Array,
  to: number,
  toEnd: number,
): void {
  const { bits, entries } = table;
  const mask = (1 << bits) - 1;
  let position = backwardBits(stream, bytes, start, end) - bits; // lowest bit of the next look
  let place = to;
  // Two symbols a look while 24 bits are there.
  for (const pairEnd = toEnd - 1; place < pairEnd && position >= bits; ) {
    const low = position - bits;
    const index = start + (low >>> 3);
    const word =
      (bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24)) >>> (low & 7);
    const first = entries[(word >>> bits) & mask]!; // masked
    const length = first & 15;
    const second = entries[(word >>> (bits - length)) & mask]!; // masked
    output[place] = first >> 4;
    output[place + 1] = second >> 4;
    place += 2;
    position -= length + (second & 15);
  }
  while (place < toEnd) {
    const entry = entries[bitsAt(bytes, start, position, bits)]!; // as many entries as values
    output[place++] = entry >> 4;
    position -= entry & 15;
    if (position < -bits) throw broken(stream, start, "a Huffman stream is too short");
  }
  if (position !== -bits) throw broken(stream, start, "a Huffman stream is too long");
}
