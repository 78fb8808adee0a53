/** Raw DEFLATE streams. Spec: RFC 1951. As strict as zlib about Huffman codes. */
import { broken, type Stream, tooShort, yieldsLess, yieldsMore } from "./decompressor.ts";
import { copyMatch } from "./lz4.ts";

const MAX_CODE_BITS = 15;
/** Codes up to this length are found with one look. */
const FAST_BITS = 10;
const MAX_LITERAL_CODES = 286;
const MAX_DISTANCE_CODES = 30;
const END_OF_BLOCK = 256;

// biome-ignore format: as tables
const LENGTH_BASES = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
// biome-ignore format: as tables
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
// biome-ignore format: as tables
const DISTANCE_BASES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
// biome-ignore format: as tables
const DISTANCE_BITS = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A canonical Huffman code. */
interface HuffmanCode {
  /** By the next FAST_BITS bits: symbol × 16 + length, 0 where the code is longer or there is none. */
  readonly fast: Uint16Array;
  /** Codes of each length. */
  readonly counts: Uint16Array;
  /** Symbols in the order of their codes. */
  readonly symbols: Uint16Array;
}

/** What decoding works in, to be used again. */
export interface DeflateScratch {
  readonly literals: HuffmanCode;
  readonly distances: HuffmanCode;
  readonly lengths: Uint8Array;
}

export function deflateScratch(): DeflateScratch {
  return { literals: newCode(288), distances: newCode(32), lengths: new Uint8Array(288 + 32) };
}

function newCode(symbols: number): HuffmanCode {
  const counts = new Uint16Array(MAX_CODE_BITS + 1);
  return { fast: new Uint16Array(1 << FAST_BITS), counts, symbols: new Uint16Array(symbols) };
}

/** False where the lengths make no prefix code: too many codes, or too few that are not a single one of one bit. */
function buildCode({ fast, counts, symbols }: HuffmanCode, lengths: Uint8Array): boolean {
  counts.fill(0);
  for (const length of lengths) counts[length]!++; // at most 15
  counts[0] = 0;
  const places = new Uint16Array(MAX_CODE_BITS + 2);
  const codes = new Uint16Array(MAX_CODE_BITS + 2);
  let left = 1;
  let code = 0;
  let longest = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length++) {
    const count = counts[length]!; // in range
    left = left * 2 - count;
    if (left < 0) return false;
    if (count > 0) longest = length;
    codes[length] = code;
    code = (code + count) << 1;
    places[length + 1] = places[length]! + count;
  }
  if (left > 0 && longest > 1) return false;
  fast.fill(0);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol]!; // in range
    if (length === 0) continue;
    symbols[places[length]!++] = symbol;
    const own = codes[length]!++;
    if (length > FAST_BITS) continue;
    let reversed = 0;
    for (let bit = 0; bit < length; bit++) reversed |= ((own >> bit) & 1) << (length - 1 - bit);
    for (let index = reversed; index < 1 << FAST_BITS; index += 1 << length) fast[index] = (symbol << 4) | length;
  }
  return true;
}

class BitReader {
  bits = 0;
  count = 0;
  at: number;
  readonly stream: Stream;
  readonly bytes: Uint8Array;

  constructor(stream: Stream) {
    this.stream = stream;
    this.bytes = stream.bytes;
    this.at = stream.start;
  }

  /** At most 16 bits. */
  take(count: number): number {
    while (this.count < count) {
      if (this.at >= this.bytes.length) throw tooShort(this.stream);
      this.bits |= this.bytes[this.at++]! << this.count; // in range
      this.count += 8;
    }
    const value = this.bits & ((1 << count) - 1);
    this.bits >>>= count;
    this.count -= count;
    return value;
  }

  symbol(code: HuffmanCode): number {
    while (this.count < MAX_CODE_BITS && this.at < this.bytes.length) {
      this.bits |= this.bytes[this.at++]! << this.count; // in range
      this.count += 8;
    }
    const entry = code.fast[this.bits & ((1 << FAST_BITS) - 1)]!; // masked
    const length = entry & 15;
    if (length !== 0 && length <= this.count) {
      this.bits >>>= length;
      this.count -= length;
      return entry >> 4;
    }
    return this.longSymbol(code);
  }

  /** A bit at a time. */
  private longSymbol({ counts, symbols }: HuffmanCode): number {
    let value = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_CODE_BITS; length++) {
      value |= this.take(1);
      const count = counts[length]!; // in range
      if (value - count < first) return symbols[index + value - first]!; // as many as were counted
      index += count;
      first = (first + count) << 1;
      value <<= 1;
    }
    throw broken(this.stream, this.at, "no symbol has this code");
  }

  /** Drops the rest of a byte and gives back whole ones. */
  align(): void {
    this.at -= this.count >> 3;
    this.bits = 0;
    this.count = 0;
  }
}

/** Fills `output`; returns where in the input the stream ended. */
export function decodeDeflate(stream: Stream, output: Uint8Array, scratch: DeflateScratch): number {
  const { isPartial } = stream;
  const reader = new BitReader(stream);
  const end = output.length;
  let to = 0;
  for (let isLast = false; !isLast; ) {
    if (isPartial && to === end) break;
    isLast = reader.take(1) === 1;
    const type = reader.take(2);
    if (type === 0) to = copyStored(stream, reader, output, to);
    else {
      if (type === 1) readFixedCodes(scratch);
      else if (type === 2) readCodes(stream, reader, scratch);
      else throw broken(stream, reader.at, "a block of unknown type");
      to = decodeBlock(stream, reader, output, to, scratch);
    }
  }
  reader.align();
  if (to < end) throw yieldsLess(stream, reader.at, to, end);
  return reader.at;
}

function copyStored(stream: Stream, reader: BitReader, output: Uint8Array, to: number): number {
  reader.align();
  const size = reader.take(16);
  if ((reader.take(16) ^ 0xffff) !== size) throw broken(stream, reader.at, "the size of a stored block does not match");
  reader.align();
  const fits = Math.min(size, output.length - to);
  if (fits < size && !stream.isPartial) throw yieldsMore(stream, reader.at, output.length);
  if (reader.at + fits > stream.bytes.length) throw tooShort(stream);
  output.set(stream.bytes.subarray(reader.at, reader.at + fits), to);
  reader.at += fits;
  return to + fits;
}

function readFixedCodes({ literals, distances, lengths }: DeflateScratch): void {
  lengths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288).fill(5, 288, 320);
  buildCode(literals, lengths.subarray(0, 288));
  buildCode(distances, lengths.subarray(288, 320));
}

function readCodes(stream: Stream, reader: BitReader, { literals, distances, lengths }: DeflateScratch): void {
  const literalCount = reader.take(5) + 257;
  const distanceCount = reader.take(5) + 1;
  const lengthCount = reader.take(4) + 4;
  if (literalCount > MAX_LITERAL_CODES || distanceCount > MAX_DISTANCE_CODES)
    throw broken(stream, reader.at, `${literalCount} literal and ${distanceCount} distance codes are too many`);
  const codeLengths = new Uint8Array(19);
  for (let i = 0; i < lengthCount; i++) codeLengths[CODE_LENGTH_ORDER[i]!] = reader.take(3); // at most 19
  // The code of code lengths has no exception for a single code.
  if (!buildCode(literals, codeLengths) || codeLengths.reduce((sum, length) => sum + (length && 2 ** -length), 0) !== 1)
    throw broken(stream, reader.at, "the code lengths have no prefix code");
  const total = literalCount + distanceCount;
  for (let i = 0; i < total; ) {
    const symbol = reader.symbol(literals);
    if (symbol < 16) {
      lengths[i++] = symbol;
      continue;
    }
    if (symbol === 16 && i === 0) throw broken(stream, reader.at, "a code length repeats nothing");
    const value = symbol === 16 ? lengths[i - 1]! : 0; // in range
    const count = symbol === 16 ? 3 + reader.take(2) : symbol === 17 ? 3 + reader.take(3) : 11 + reader.take(7);
    if (i + count > total) throw broken(stream, reader.at, "code lengths repeat beyond their number");
    lengths.fill(value, i, i + count);
    i += count;
  }
  if (lengths[END_OF_BLOCK] === 0) throw broken(stream, reader.at, "no code ends the block");
  if (!buildCode(literals, lengths.subarray(0, literalCount)))
    throw broken(stream, reader.at, "literals have no prefix code");
  if (!buildCode(distances, lengths.subarray(literalCount, total)))
    throw broken(stream, reader.at, "distances have no prefix code");
}

function decodeBlock(
  stream: Stream,
  reader: BitReader,
  output: Uint8Array,
  start: number,
  { literals, distances }: DeflateScratch,
): number {
  const end = output.length;
  let to = start;
  for (;;) {
    if (to === end && stream.isPartial) return to;
    const symbol = reader.symbol(literals);
    if (symbol < END_OF_BLOCK) {
      if (to === end) throw yieldsMore(stream, reader.at, end);
      output[to++] = symbol;
      continue;
    }
    if (symbol === END_OF_BLOCK) return to;
    const base = LENGTH_BASES[symbol - 257];
    if (base === undefined) throw broken(stream, reader.at, `length symbol ${symbol} is not defined`);
    let size = base + reader.take(LENGTH_BITS[symbol - 257]!); // as long as the bases
    const slot = reader.symbol(distances);
    const distanceBase = DISTANCE_BASES[slot];
    if (distanceBase === undefined) throw broken(stream, reader.at, `distance symbol ${slot} is not defined`);
    const distance = distanceBase + reader.take(DISTANCE_BITS[slot]!); // as long as the bases
    if (distance > to || distance > stream.windowSize)
      throw broken(stream, reader.at, `a match reaches back ${distance} of ${Math.min(to, stream.windowSize)} bytes`);
    if (to + size > end) {
      if (!stream.isPartial) throw yieldsMore(stream, reader.at, end);
      size = end - to;
    }
    copyMatch(output, to, distance, size);
    to += size;
  }
}
