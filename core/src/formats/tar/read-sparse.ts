/** Maps of sparse files that stand in the archive itself rather than in PAX records. */
import { BLOCK_SIZE, MAX_SPARSE_SEGMENTS, RawSparseBlock } from "./format.ts";
import { gnuTail } from "./header.ts";
import { parsePaxNumber } from "./numbers.ts";
import { parseSparseTable, type SparseSegment } from "./sparse.ts";
import { type Input, type Steps, take } from "./steps.ts";

export function unwrap(segments: SparseSegment[] | string, fail: (problem: string) => never): SparseSegment[] {
  return typeof segments === "string" ? fail(segments) : segments;
}

/** Old GNU format: four entries in the header, then blocks of 21 for as long as `isextended` says so. */
export function* takeOldMap(
  input: Input,
  header: Uint8Array,
  fail: (problem: string) => never,
  context: () => string,
): Steps<SparseSegment[]> {
  const map: SparseSegment[] = [];
  const tail = gnuTail(header);
  let problem = parseSparseTable(tail.sparse, map);
  let isExtended = tail.isextended[0] !== 0;
  for (let blocks = 0; isExtended && problem === undefined; blocks++) {
    if (blocks > MAX_SPARSE_SEGMENTS / 21) return fail(`sparse map has more than ${MAX_SPARSE_SEGMENTS} segments`);
    const block = RawSparseBlock.view(yield* take(input, BLOCK_SIZE, context));
    problem = parseSparseTable(block.sparse, map);
    isExtended = block.isextended[0] !== 0;
  }
  return problem === undefined ? map : fail(problem);
}

const NEWLINE = 0x0a;
const MAX_NUMBER_DIGITS = 16;

/**
 * Format 1.0: decimal numbers, a line each, at the start of the content: how many segments, then offset and size of
 * each; zeros up to a block. Returns the bytes it takes.
 */
export function* takeMap(
  input: Input,
  stored: number,
  into: SparseSegment[],
  fail: (problem: string) => never,
  context: () => string,
): Steps<number> {
  let used = 0;
  let line = "";
  let count: number | undefined;
  let offset: number | undefined;
  while (count === undefined || into.length < count) {
    if (used + BLOCK_SIZE > stored) return fail("the sparse map passes the content");
    const block = yield* take(input, BLOCK_SIZE, context);
    used += BLOCK_SIZE;
    for (const byte of block) {
      if (count !== undefined && into.length >= count) break;
      if (byte !== NEWLINE) {
        line += String.fromCharCode(byte);
        if (line.length > MAX_NUMBER_DIGITS) return fail("the sparse map holds what is no number");
        continue;
      }
      const value = parsePaxNumber(line) ?? fail("the sparse map holds what is no number");
      line = "";
      if (count === undefined) {
        count = value;
        if (count > MAX_SPARSE_SEGMENTS) return fail(`sparse map has more than ${MAX_SPARSE_SEGMENTS} segments`);
      } else if (offset === undefined) offset = value;
      else {
        into.push({ offset, size: value });
        offset = undefined;
      }
    }
  }
  return used;
}
