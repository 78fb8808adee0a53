/** The sequences section of a zstd block: literals and matches in turn. Spec: RFC 8878, sections 3.1.1.3.2 to 3.1.1.5. */
import { broken, type Stream, tooShort, yieldsMore } from "./decompressor.ts";
import { copyMatch } from "./lz4.ts";
import {
  backwardBits,
  bitsAt,
  buildFseTable,
  buildRleTable,
  type FseTable,
  newFseTable,
  readFseTable,
} from "./zstd-entropy.ts";

// biome-ignore format: as tables
const LITERAL_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
// biome-ignore format: as tables
const MATCH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/** Each base is the one before plus what its bits can say. */
const LITERAL_BASES = /* @__PURE__ */ basesOf(LITERAL_BITS, 0);
const MATCH_BASES = /* @__PURE__ */ basesOf(MATCH_BITS, 3);
const MAX_OFFSET_CODE = 31;

// biome-ignore format: as tables
const LITERAL_COUNTS = [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1];
// biome-ignore format: as tables
const MATCH_COUNTS = [1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1];
// biome-ignore format: as tables
const OFFSET_COUNTS = [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];

function basesOf(bits: readonly number[], first: number): readonly number[] {
  let base = first;
  return bits.map((count) => {
    const own = base;
    base += 2 ** count;
    return own;
  });
}

/** One of the three codes of a sequence. */
interface Code {
  readonly name: string;
  readonly counts: readonly number[];
  readonly defaultLog: number;
  readonly accuracyLog: number;
  /** How many symbols there are. */
  readonly symbols: number;
}

const LITERAL_CODE: Code = { name: "literals", counts: LITERAL_COUNTS, defaultLog: 6, accuracyLog: 9, symbols: 36 };
const OFFSET_CODE: Code = { name: "offsets", counts: OFFSET_COUNTS, defaultLog: 5, accuracyLog: 8, symbols: 32 };
const MATCH_CODE: Code = { name: "matches", counts: MATCH_COUNTS, defaultLog: 6, accuracyLog: 9, symbols: 53 };

/** What the blocks of a frame pass on, to be used again for other frames. */
export interface SequenceState {
  readonly literals: FseTable;
  readonly offsets: FseTable;
  readonly matches: FseTable;
  /** Whether the tables are those of an earlier block. */
  areTablesSet: boolean;
  /** The last three distances. */
  readonly distances: [number, number, number];
}

export function newSequenceState(): SequenceState {
  return {
    literals: newFseTable(LITERAL_CODE.accuracyLog),
    offsets: newFseTable(OFFSET_CODE.accuracyLog),
    matches: newFseTable(MATCH_CODE.accuracyLog),
    areTablesSet: false,
    distances: [1, 4, 8],
  };
}

export function resetSequenceState(state: SequenceState): void {
  state.areTablesSet = false;
  state.distances[0] = 1;
  state.distances[1] = 4;
  state.distances[2] = 8;
}

/**
 * Executes the section in [at, end) of `bytes` with the first `literalsSize` bytes of `literals`; returns where in `output`
 * it ended. */
export function decodeSequences(
  stream: Stream,
  bytes: Uint8Array,
  at: number,
  end: number,
  literals: Uint8Array,
  literalsSize: number,
  state: SequenceState,
  output: Uint8Array,
  start: number,
): number {
  if (at >= end) throw broken(stream, at, "a block has no sequences section");
  const first = bytes[at]!; // in range
  let count = first;
  let here = at + 1;
  if (first >= 128) {
    count = first < 255 ? ((first - 128) << 8) + bytes[here]! : bytes[here]! + (bytes[here + 1]! << 8) + 0x7f00;
    here += first < 255 ? 1 : 2;
  }
  if (count === 0) {
    if (here !== end) throw broken(stream, here, "bytes follow the sequences of a block");
    return copyLiterals(stream, here, literals, 0, literalsSize, output, start);
  }
  if (here >= end) throw tooShort(stream);
  const modes = bytes[here++]!; // in range
  if ((modes & 3) !== 0) throw broken(stream, here - 1, "reserved bits of the sequences are set");
  here = readTable(stream, bytes, here, end, state.literals, LITERAL_CODE, modes >> 6, state.areTablesSet);
  here = readTable(stream, bytes, here, end, state.offsets, OFFSET_CODE, (modes >> 4) & 3, state.areTablesSet);
  here = readTable(stream, bytes, here, end, state.matches, MATCH_CODE, (modes >> 2) & 3, state.areTablesSet);
  state.areTablesSet = true;
  return execute(stream, bytes, here, end, count, literals, literalsSize, state, output, start);
}

function readTable(
  stream: Stream,
  bytes: Uint8Array,
  at: number,
  end: number,
  table: FseTable,
  code: Code,
  mode: number,
  isSet: boolean,
): number {
  switch (mode) {
    case 0:
      buildFseTable(table, code.counts, code.defaultLog);
      return at;
    case 1:
      if (at >= end) throw tooShort(stream);
      if (bytes[at]! >= code.symbols) throw broken(stream, at, `no such symbol of ${code.name}: ${bytes[at]}`);
      buildRleTable(table, bytes[at]!);
      return at + 1;
    case 2:
      return readFseTable(stream, bytes, at, end, table, code);
    default:
      if (!isSet) throw broken(stream, at, `the table of ${code.name} is to be repeated, but there is none`);
      return at;
  }
}

function copyLiterals(
  stream: Stream,
  at: number,
  literals: Uint8Array,
  from: number,
  size: number,
  output: Uint8Array,
  to: number,
): number {
  let length = size;
  if (to + size > output.length) {
    if (!stream.isPartial) throw yieldsMore(stream, at, output.length);
    length = output.length - to;
  }
  if (length < 32) for (let i = 0; i < length; i++) output[to + i] = literals[from + i]!;
  else output.set(literals.subarray(from, from + length), to);
  return to + length;
}

function execute(
  stream: Stream,
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  literals: Uint8Array,
  literalsSize: number,
  { literals: literalTable, offsets: offsetTable, matches: matchTable, distances }: SequenceState,
  output: Uint8Array,
  outputStart: number,
): number {
  const { isPartial } = stream;
  const limit = output.length;
  let position = backwardBits(stream, bytes, start, end);
  let to = outputStart;
  let from = 0;
  let [distance0, distance1, distance2] = distances;
  position -= literalTable.accuracyLog;
  let literalState = bitsAt(bytes, start, position, literalTable.accuracyLog);
  position -= offsetTable.accuracyLog;
  let offsetState = bitsAt(bytes, start, position, offsetTable.accuracyLog);
  position -= matchTable.accuracyLog;
  let matchState = bitsAt(bytes, start, position, matchTable.accuracyLog);
  for (let left = count; ; left--) {
    const offsetCode = offsetTable.symbols[offsetState]!; // states and symbols are in range, as the tables are
    const matchCode = matchTable.symbols[matchState]!;
    const literalCode = literalTable.symbols[literalState]!;
    if (offsetCode > MAX_OFFSET_CODE) throw broken(stream, start, `no such symbol of offsets: ${offsetCode}`);
    let offset: number;
    if (offsetCode <= 24) {
      position -= offsetCode;
      offset = (1 << offsetCode) + bitsAt(bytes, start, position, offsetCode);
    } else {
      position -= offsetCode - 16;
      const high = bitsAt(bytes, start, position, offsetCode - 16);
      position -= 16;
      offset = 2 ** offsetCode + high * 65536 + bitsAt(bytes, start, position, 16);
    }
    const matchBits = MATCH_BITS[matchCode]!;
    position -= matchBits;
    const matchSize = MATCH_BASES[matchCode]! + (matchBits === 0 ? 0 : bitsAt(bytes, start, position, matchBits));
    const literalBits = LITERAL_BITS[literalCode]!;
    position -= literalBits;
    const literalSize =
      LITERAL_BASES[literalCode]! + (literalBits === 0 ? 0 : bitsAt(bytes, start, position, literalBits));
    if (position < 0) throw broken(stream, start, "the sequences are cut off");

    let distance: number;
    if (offset > 3) {
      distance = offset - 3;
      distance2 = distance1;
      distance1 = distance0;
      distance0 = distance;
    } else {
      const index = offset - 1 + (literalSize === 0 ? 1 : 0);
      if (index === 0) distance = distance0;
      else {
        distance = index === 1 ? distance1 : index === 2 ? distance2 : distance0 - 1;
        if (index > 1) distance2 = distance1;
        distance1 = distance0;
        distance0 = distance;
      }
    }

    if (from + literalSize > literalsSize) throw broken(stream, start, "a sequence takes more literals than there are");
    to = copyLiterals(stream, start, literals, from, literalSize, output, to);
    from += literalSize;
    if (isPartial && to === limit) return to;
    if (distance === 0 || distance > to || distance > stream.windowSize)
      throw broken(stream, start, `a match reaches back ${distance} of ${Math.min(to, stream.windowSize)} bytes`);
    if (to + matchSize > limit) {
      if (!isPartial) throw yieldsMore(stream, start, limit);
      copyMatch(output, to, distance, limit - to);
      return limit;
    }
    copyMatch(output, to, distance, matchSize);
    to += matchSize;
    if (left === 1) break;

    // The order of these three is the format's.
    const literalNext = literalTable.bits[literalState]!;
    position -= literalNext;
    literalState = literalTable.bases[literalState]! + bitsAt(bytes, start, position, literalNext);
    const matchNext = matchTable.bits[matchState]!;
    position -= matchNext;
    matchState = matchTable.bases[matchState]! + bitsAt(bytes, start, position, matchNext);
    const offsetNext = offsetTable.bits[offsetState]!;
    position -= offsetNext;
    offsetState = offsetTable.bases[offsetState]! + bitsAt(bytes, start, position, offsetNext);
  }
  if (position !== 0) throw broken(stream, start, "bits follow the last sequence");
  distances[0] = distance0;
  distances[1] = distance1;
  distances[2] = distance2;
  return copyLiterals(stream, end, literals, from, literalsSize - from, output, to);
}
