/** Zstandard frames, one at a time, without dictionaries. Spec: RFC 8878, section 3.1. */
import { UnsupportedError } from "../errors/index.ts";
import { broken, type Stream, tooShort, yieldsLess, yieldsMore } from "./decompressor.ts";
import { xxHash64Low } from "./xxhash64.ts";
import { BIT_READ_SLACK, decodeHuffman, type HuffmanTable, newHuffmanTable, readHuffmanTable } from "./zstd-entropy.ts";
import { decodeSequences, newSequenceState, resetSequenceState, type SequenceState } from "./zstd-sequences.ts";

const MAGIC = 0xfd2fb528;
const MAX_BLOCK_SIZE = 128 * 1024;

/** What decoding works in, to be used again. */
export interface ZstdScratch {
  /** A copy of the frame, so that reading bits may go a little beyond its end. */
  frame: Uint8Array;
  readonly literals: Uint8Array;
  readonly huffman: HuffmanTable;
  readonly sequences: SequenceState;
}

export function zstdScratch(): ZstdScratch {
  return {
    frame: new Uint8Array(0),
    literals: new Uint8Array(MAX_BLOCK_SIZE),
    huffman: newHuffmanTable(),
    sequences: newSequenceState(),
  };
}

/** Fills `output`; returns where in the input the frame ended. */
export function decodeZstd(stream: Stream, output: Uint8Array, scratch: ZstdScratch): number {
  const size = stream.bytes.length;
  if (scratch.frame.length < size + BIT_READ_SLACK) scratch.frame = new Uint8Array(size * 2 + BIT_READ_SLACK);
  const { frame } = scratch;
  frame.set(stream.bytes);
  frame.fill(0, size, size + BIT_READ_SLACK);
  scratch.huffman.bits = 0;
  resetSequenceState(scratch.sequences);
  const header = readHeader(stream, frame, output.length);
  let { at } = header;
  let to = 0;
  for (let isLast = false; !isLast; ) {
    if (stream.isPartial && to === output.length) return at;
    if (at + 3 > size) throw tooShort(stream);
    const word = littleEndian(frame, at, 3);
    at += 3;
    isLast = (word & 1) === 1;
    const blockSize = word >> 3;
    const type = (word >> 1) & 3;
    const stored = type === 1 ? 1 : blockSize;
    if (type === 3) throw broken(stream, at - 3, "a block of unknown type");
    if (blockSize > MAX_BLOCK_SIZE) throw broken(stream, at - 3, `a block of ${blockSize} bytes`);
    if (at + stored > size) throw tooShort(stream);
    if (type === 2) to = decodeBlock(stream, frame, at, at + stored, scratch, output, to);
    else {
      const fits = Math.min(blockSize, output.length - to);
      if (fits < blockSize && !stream.isPartial) throw yieldsMore(stream, at, output.length);
      if (type === 1) output.fill(frame[at]!, to, to + fits);
      else output.set(frame.subarray(at, at + fits), to);
      to += fits;
    }
    at += stored;
  }
  if (to < output.length) throw yieldsLess(stream, at, to, output.length);
  if (!header.hasChecksum) return at;
  if (at + 4 > size) throw tooShort(stream);
  // Of a part there is no checksum.
  if (!stream.isPartial && xxHash64Low(output) !== littleEndian(frame, at, 4) >>> 0)
    throw broken(stream, at, "its checksum does not match");
  return at + 4;
}

/** At most four bytes. */
function littleEndian(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= bytes[at + i]! << (8 * i); // the slack is behind
  return value;
}

function readHeader(
  stream: Stream,
  frame: Uint8Array,
  expected: number,
): { readonly at: number; readonly hasChecksum: boolean } {
  const size = stream.bytes.length;
  let at = stream.start;
  if (littleEndian(frame, at, 4) >>> 0 !== MAGIC || at + 5 > size) throw broken(stream, at, "no frame starts there");
  const descriptor = frame[at + 4]!; // in range
  at += 5;
  if ((descriptor & 0x08) !== 0) throw broken(stream, at - 1, "a reserved bit of the frame header is set");
  if ((descriptor & 3) !== 0)
    throw new UnsupportedError("zstd-dictionary", `${stream.what}: the zstd frame needs a dictionary`);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  let windowSize = 0;
  if (!isSingleSegment) {
    const byte = frame[at++]!; // the slack is behind
    windowSize = 2 ** (10 + (byte >> 3)) * (1 + (byte & 7) / 8);
  }
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!; // two bits
  if (at + sizeBytes > size) throw tooShort(stream);
  if (sizeBytes > 0) {
    let contentSize = littleEndian(frame, at, Math.min(sizeBytes, 4)) >>> 0;
    if (sizeBytes === 2) contentSize += 256;
    if (sizeBytes === 8) contentSize += (littleEndian(frame, at + 4, 4) >>> 0) * 2 ** 32;
    if (contentSize < expected) throw yieldsLess(stream, at, contentSize, expected);
    if (contentSize > expected && !stream.isPartial) throw yieldsMore(stream, at, expected);
    windowSize = isSingleSegment ? contentSize : Math.min(windowSize, contentSize);
  }
  // Of a window larger than the content only that is used.
  if (!stream.isPartial) windowSize = Math.min(windowSize, expected);
  if (windowSize > stream.windowSize)
    throw broken(stream, at, `a window of ${windowSize} bytes, more than ${stream.windowSize}`);
  return { at: at + sizeBytes, hasChecksum: (descriptor & 4) !== 0 };
}

/** A compressed block: literals, then sequences. Section 3.1.1.3. */
function decodeBlock(
  stream: Stream,
  frame: Uint8Array,
  start: number,
  end: number,
  scratch: ZstdScratch,
  output: Uint8Array,
  to: number,
): number {
  if (end - start < 2) throw broken(stream, start, `a compressed block of ${end - start} bytes`);
  const first = frame[start]!; // in range
  const type = first & 3;
  const format = (first >> 2) & 3;
  const { literals, huffman, sequences } = scratch;
  let at: number;
  let size: number;
  if (type < 2) {
    const headerSize = format === 1 ? 2 : format === 3 ? 3 : 1;
    size = littleEndian(frame, start, headerSize) >> (headerSize === 1 ? 3 : 4);
    at = start + headerSize;
    const stored = type === 1 ? 1 : size;
    if (size > MAX_BLOCK_SIZE) throw broken(stream, start, `${size} literals in a block`);
    if (at + stored > end) throw broken(stream, start, "the literals are cut off");
    if (type === 1) literals.fill(frame[at]!, 0, size);
    else literals.set(frame.subarray(at, at + size));
    at += stored;
  } else {
    const sizeBits = format < 2 ? 10 : format === 2 ? 14 : 18;
    const headerSize = format < 2 ? 3 : format + 2;
    // Up to 40 bits, so no shifts.
    const word = (littleEndian(frame, start, 4) >>> 0) + frame[start + 4]! * 2 ** 32;
    size = Math.floor(word / 16) % 2 ** sizeBits;
    const stored = Math.floor(word / 2 ** (4 + sizeBits)) % 2 ** sizeBits;
    at = start + headerSize;
    const literalsEnd = at + stored;
    if (size > MAX_BLOCK_SIZE) throw broken(stream, start, `${size} literals in a block`);
    if (literalsEnd > end) throw broken(stream, start, "the literals are cut off");
    if (type === 2) at = readHuffmanTable(stream, frame, at, literalsEnd, huffman);
    else if (huffman.bits === 0) throw broken(stream, start, "a Huffman tree is to be repeated, but there is none");
    if (format === 0) decodeHuffman(stream, frame, at, literalsEnd, huffman, literals, 0, size);
    else decodeFourStreams(stream, frame, at, literalsEnd, huffman, literals, size);
    at = literalsEnd;
  }
  return decodeSequences(stream, frame, at, end, literals, size, sequences, output, to);
}

/** Section 3.1.1.3.1.6: three sizes, then four streams of a quarter each. */
function decodeFourStreams(
  stream: Stream,
  frame: Uint8Array,
  start: number,
  end: number,
  huffman: HuffmanTable,
  literals: Uint8Array,
  size: number,
): void {
  const part = (size + 3) >> 2;
  let at = start + 6;
  if (at > end || 3 * part > size) throw broken(stream, start, "four literal streams of nothing");
  for (let i = 0; i < 4; i++) {
    const next = i === 3 ? end : at + littleEndian(frame, start + 2 * i, 2);
    if (next > end) throw broken(stream, start, "a literal stream is cut off");
    decodeHuffman(stream, frame, at, next, huffman, literals, i * part, i === 3 ? size : (i + 1) * part);
    at = next;
  }
}
