/**
 * MicroLZMA: raw LZMA without end marker, its first byte, always 0, replaced by the complement of lc/lp/pb.
 * Spec: doc/lzma-file-format.txt and microlzma in liblzma 5.4 (api/lzma/container.h); LZMA itself: lzma-specification.txt, Igor Pavlov.
 */
import { broken, type Stream, tooShort, yieldsMore } from "./decompressor.ts";
import { copyMatch } from "./lz4.ts";

const PROBABILITY_BITS = 11;
const EVEN = 1 << (PROBABILITY_BITS - 1);
const MOVE_BITS = 5;

const STATES = 12;
const FIRST_NON_LITERAL_STATE = 7;
const MAX_POSITION_STATES = 16;
const MIN_MATCH = 2;
const LENGTH_STATES = 4;
const FIRST_TREE_SLOT = 4;
const FIRST_DIRECT_SLOT = 14;
const ALIGN_BITS = 4;
const END_MARKER = 0xffffffff;
const LITERAL_CODER_SIZE = 0x300;
/** liblzma refuses more, so that a literal's probabilities stay small. */
const MAX_LITERAL_BITS = 4;
const MAX_POSITION_BITS = 4;

// Places in the table of probabilities; a length coder is: choice, choice 2, low trees, middle trees, high tree.
const LENGTH_CODER_SIZE = 2 + MAX_POSITION_STATES * 8 * 2 + 256;
const IS_MATCH = 0;
const IS_REPEAT = IS_MATCH + STATES * MAX_POSITION_STATES;
const IS_REPEAT_0 = IS_REPEAT + STATES;
const IS_REPEAT_1 = IS_REPEAT_0 + STATES;
const IS_REPEAT_2 = IS_REPEAT_1 + STATES;
const IS_LONG_REPEAT_0 = IS_REPEAT_2 + STATES;
const SLOTS = IS_LONG_REPEAT_0 + STATES * MAX_POSITION_STATES;
const TREE_DISTANCES = SLOTS + LENGTH_STATES * 64;
const ALIGN = TREE_DISTANCES + 128;
const MATCH_LENGTH = ALIGN + 16;
const REPEAT_LENGTH = MATCH_LENGTH + LENGTH_CODER_SIZE;
const LITERALS = REPEAT_LENGTH + LENGTH_CODER_SIZE;
/** Entries of the table that {@link decodeMicroLzma} works in. */
export const PROBABILITIES = LITERALS + (LITERAL_CODER_SIZE << MAX_LITERAL_BITS);

/**
 * Reads bits whose probabilities it learns. Range and code are 32 bits, kept as signed ones: numbers past 2^31 would be
 * boxed in the fields of an object, a quarter slower (measured, Node 24.21).
 */
class RangeDecoder {
  private range = -1;
  private code = 0;
  at: number;
  readonly stream: Stream;
  readonly bytes: Uint8Array;
  readonly table: Uint16Array;

  constructor(stream: Stream, at: number, table: Uint16Array) {
    this.stream = stream;
    this.bytes = stream.bytes;
    this.table = table;
    this.at = at;
    for (let i = 0; i < 4; i++) this.code = (this.code << 8) | this.next();
  }

  /** Whether nothing is left in the code, as behind the last symbol. */
  get isFinished(): boolean {
    return this.code === 0;
  }

  private next(): number {
    if (this.at >= this.bytes.length) throw tooShort(this.stream);
    return this.bytes[this.at++]!; // in range
  }

  normalise(): void {
    if (this.range >>> 24 === 0) {
      this.range <<= 8;
      this.code = (this.code << 8) | this.next();
    }
  }

  bit(index: number): number {
    this.normalise();
    const probability = this.table[index]!; // every index is made from the constants above
    const bound = (this.range >>> PROBABILITY_BITS) * probability; // below 2^32
    if (this.code >>> 0 < bound) {
      this.range = bound | 0;
      this.table[index] = probability + (((1 << PROBABILITY_BITS) - probability) >> MOVE_BITS);
      return 0;
    }
    this.range = (this.range - bound) | 0;
    this.code = (this.code - bound) | 0;
    this.table[index] = probability - (probability >> MOVE_BITS);
    return 1;
  }

  tree(index: number, bits: number): number {
    let node = 1;
    for (let i = 0; i < bits; i++) node = (node << 1) | this.bit(index + node);
    return node - (1 << bits);
  }

  reverseTree(index: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(index + node);
      node = (node << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  /** Bits of even chance, at most 26. */
  direct(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.normalise();
      this.range >>>= 1; // now without sign
      const isOne = this.code >>> 0 >= this.range;
      if (isOne) this.code = (this.code - this.range) | 0;
      value = (value << 1) | (isOne ? 1 : 0);
    }
    return value;
  }

  length(index: number, positionState: number): number {
    if (this.bit(index) === 0) return this.tree(index + 2 + (positionState << 3), 3);
    if (this.bit(index + 1) === 0)
      return 8 + this.tree(index + 2 + (MAX_POSITION_STATES << 3) + (positionState << 3), 3);
    return 16 + this.tree(index + 2 + (MAX_POSITION_STATES << 4), 8);
  }

  distance(length: number): number {
    const slot = this.tree(SLOTS + (Math.min(length, LENGTH_STATES - 1) << 6), 6);
    if (slot < FIRST_TREE_SLOT) return slot;
    const bits = (slot >> 1) - 1;
    const base = ((2 | (slot & 1)) << bits) >>> 0;
    if (slot < FIRST_DIRECT_SLOT) return base + this.reverseTree(TREE_DISTANCES + base - slot, bits);
    const high = this.direct(bits - ALIGN_BITS) * (1 << ALIGN_BITS);
    return base + high + this.reverseTree(ALIGN, ALIGN_BITS);
  }
}

/** Fills `output`; returns where in the input the stream ended. `table` has {@link PROBABILITIES} entries of any value. */
export function decodeMicroLzma(stream: Stream, output: Uint8Array, table: Uint16Array): number {
  const { bytes, start, isPartial, windowSize } = stream;
  if (start >= bytes.length) throw tooShort(stream);
  const properties = ~bytes[start]! & 0xff; // in range
  const literalContextBits = properties % 9;
  const literalPositionBits = Math.floor(properties / 9) % 5;
  const positionBits = Math.floor(properties / 45);
  if (positionBits > MAX_POSITION_BITS || literalContextBits + literalPositionBits > MAX_LITERAL_BITS)
    throw broken(stream, start, `properties ${properties} are not allowed`);
  table.fill(EVEN, 0, LITERALS + (LITERAL_CODER_SIZE << (literalContextBits + literalPositionBits)));
  const decoder = new RangeDecoder(stream, start + 1, table);
  const literalMask = (1 << literalPositionBits) - 1;
  const positionMask = (1 << positionBits) - 1;
  const end = output.length;
  let to = 0;
  let state = 0;
  let distance0 = 0; // as encoded: one less than how far back
  let distance1 = 0;
  let distance2 = 0;
  let distance3 = 0;
  while (to < end) {
    const positionState = to & positionMask;
    if (decoder.bit(IS_MATCH + (state << 4) + positionState) === 0) {
      const before = to === 0 ? 0 : output[to - 1]!; // in range
      const context = ((to & literalMask) << literalContextBits) + (before >> (8 - literalContextBits));
      const literal = LITERALS + LITERAL_CODER_SIZE * context;
      let symbol = 1;
      if (state >= FIRST_NON_LITERAL_STATE) {
        let match = output[to - distance0 - 1]!; // a match came before, so the distance was checked
        do {
          const matchBit = (match >> 7) & 1;
          match <<= 1;
          const bit = decoder.bit(literal + ((1 + matchBit) << 8) + symbol);
          symbol = (symbol << 1) | bit;
          if (matchBit !== bit) break;
        } while (symbol < 0x100);
      }
      while (symbol < 0x100) symbol = (symbol << 1) | decoder.bit(literal + symbol);
      output[to++] = symbol;
      state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
      continue;
    }
    let length: number;
    if (decoder.bit(IS_REPEAT + state) === 0) {
      distance3 = distance2;
      distance2 = distance1;
      distance1 = distance0;
      length = decoder.length(MATCH_LENGTH, positionState);
      distance0 = decoder.distance(length);
      if (distance0 === END_MARKER) throw broken(stream, decoder.at, "it has an end marker");
      state = state < FIRST_NON_LITERAL_STATE ? 7 : 10;
    } else {
      if (decoder.bit(IS_REPEAT_0 + state) === 0) {
        if (decoder.bit(IS_LONG_REPEAT_0 + (state << 4) + positionState) === 0) {
          if (distance0 >= to) throw farMatch(stream, decoder.at, distance0, to);
          output[to] = output[to - distance0 - 1]!; // checked
          to++;
          state = state < FIRST_NON_LITERAL_STATE ? 9 : 11;
          continue;
        }
      } else {
        let distance: number;
        if (decoder.bit(IS_REPEAT_1 + state) === 0) distance = distance1;
        else {
          if (decoder.bit(IS_REPEAT_2 + state) === 0) distance = distance2;
          else {
            distance = distance3;
            distance3 = distance2;
          }
          distance2 = distance1;
        }
        distance1 = distance0;
        distance0 = distance;
      }
      length = decoder.length(REPEAT_LENGTH, positionState);
      state = state < FIRST_NON_LITERAL_STATE ? 8 : 11;
    }
    if (distance0 >= to || distance0 >= windowSize)
      throw farMatch(stream, decoder.at, distance0, Math.min(to, windowSize));
    length += MIN_MATCH;
    if (to + length > end) {
      if (!isPartial) throw yieldsMore(stream, decoder.at, end);
      length = end - to;
    }
    copyMatch(output, to, distance0 + 1, length);
    to += length;
  }
  if (!isPartial) {
    decoder.normalise();
    if (!decoder.isFinished) throw yieldsMore(stream, decoder.at, end);
  }
  return decoder.at;
}

function farMatch(stream: Stream, at: number, distance: number, limit: number): Error {
  return broken(stream, at, `a match reaches back ${distance + 1} of ${limit} bytes`);
}
