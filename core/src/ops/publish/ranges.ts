/** Many small reads of a blob as few larger ones. */
import type { ReadOptions, Source } from "../../source/index.ts";

export interface Range {
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** Ranges nearer to each other than this many bytes are read as one: a request costs about as much. */
const GAP = 16 * 1024;
/** Bytes of one read, unless a single range has more. */
const MAX_READ = 4 * 1024 * 1024;
/** Reads under way at a time. */
const PARALLEL = 4;

/** Ranges in ascending order → reads in ascending order, each with the ranges that it covers. */
export function coalesce<R extends Range>(
  ranges: readonly R[],
): { readonly read: Range; readonly covers: readonly R[] }[] {
  const reads: { read: Range; covers: R[] }[] = [];
  for (const range of ranges) {
    const last = reads.at(-1);
    const end = range.offset + range.size;
    if (
      last !== undefined &&
      range.offset <= last.read.offset + last.read.size + GAP &&
      end - last.read.offset <= MAX_READ
    ) {
      last.read = { offset: last.read.offset, size: Math.max(last.read.size, end - last.read.offset) };
      last.covers.push(range);
    } else reads.push({ read: { offset: range.offset, size: range.size }, covers: [range] });
  }
  return reads;
}

/** Reads ranges in ascending order, a few at a time, and hands each to `use`, whoever comes first. */
export async function readRanges<R extends Range>(
  source: Source,
  ranges: readonly R[],
  use: (range: R, bytes: Uint8Array) => void,
  options?: ReadOptions,
): Promise<void> {
  const reads = coalesce(ranges).values();
  async function lane(): Promise<void> {
    for (const { read, covers } of reads) {
      const bytes = await source.read(read.offset, read.size, options);
      for (const range of covers) {
        const start = range.offset - read.offset;
        use(range, bytes.subarray(start, start + range.size));
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, lane)); // lanes share one iterator, so each read is made once
}
