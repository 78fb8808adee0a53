/** Random-access bytes of known length, and the decorators that need nothing but the port itself. */
import { SourceError } from "../errors/index.ts";

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Random-access bytes of known length: a file, a Blob, an HTTP resource, a partition of another source.
 *
 * `read` resolves to exactly `length` bytes or rejects; it never returns fewer. The result may be a
 * view of a cache, so callers must not write to it, and copy what they keep.
 */
export interface Source {
  /** Bytes. */
  readonly size: number;
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  /**
   * Where a source can: fills `target` from `offset` on, at once or by a promise, with no buffer of its own. Large
   * amounts pass through few buffers so: a fresh one for each read costs more than the read, most of it in the garbage
   * collector (measured).
   */
  readInto?(offset: number, target: Uint8Array): Promise<void> | undefined;
  /** Where a source remembers: the bytes if nobody has to wait for them, else undefined. What `read` says of its result holds. */
  readNow?(offset: number, length: number): Uint8Array | undefined;
  /**
   * Where a source knows its holes: the first place from `offset` on that may hold something else than zeros, `size` where
   * there is none. What lies between need not be read.
   */
  dataFrom?(offset: number): number;
}

/** Throws SourceError `out-of-range` unless `[offset, offset + length)` lies inside `size` bytes. */
export function assertRange(offset: number, length: number, size: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw new RangeError(`not a range: ${length} bytes at ${offset}`);
  if (offset + length > size)
    throw new SourceError("out-of-range", `range of ${length} bytes at ${offset} is past the end at ${size}`, {
      offset,
    });
}

/** Bytes in memory as a source. Keeps `bytes`. */
export function bytesSource(bytes: Uint8Array): Source {
  return {
    size: bytes.length,
    async read(offset, length) {
      assertRange(offset, length, bytes.length);
      return bytes.subarray(offset, offset + length);
    },
  };
}

export const emptySource: Source = /* @__PURE__ */ bytesSource(/* @__PURE__ */ new Uint8Array(0));

/** A window of `source`: a partition, an embedded image, a section of a UKI. */
export function sliceSource(source: Source, start: number, size = source.size - start): Source {
  assertRange(start, size, source.size);
  return source.readInto === undefined ? new Window(source, start, size) : new FillingWindow(source, start, size);
}

/** What {@link sliceSource} made `source` from; undefined for any other source. */
export function windowOf(source: Source): { readonly source: Source; readonly start: number } | undefined {
  return source instanceof Window ? source : undefined;
}

/** A class, since a tree has one for each of its files: a third of the memory of closures. */
class Window implements Source {
  readonly size: number;
  readonly source: Source;
  readonly start: number;

  constructor(source: Source, start: number, size: number) {
    this.source = source;
    this.start = start;
    this.size = size;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    assertRange(offset, length, this.size);
    return this.source.read(this.start + offset, length, options);
  }
}

class FillingWindow extends Window {
  readInto(offset: number, target: Uint8Array): Promise<void> | undefined {
    assertRange(offset, target.length, this.size);
    return this.source.readInto!(this.start + offset, target); // the source of this class has it
  }
}

/** One piece of a {@link piecewiseSource}; what no piece covers reads as zeros. */
export interface Piece {
  /** Bytes from the start of the whole. */
  readonly at: number;
  readonly source: Source;
}

/** A source put together from pieces in ascending order without overlap, such as a sparse file or a disk. */
export function piecewiseSource(size: number, pieces: readonly Piece[]): Source {
  let end = 0;
  for (const piece of pieces) {
    if (piece.at < end || piece.at + piece.source.size > size)
      throw new RangeError(`piece at ${piece.at} does not fit`);
    end = piece.at + piece.source.size;
  }
  /** Index of the first piece that ends after `offset`. */
  function firstAfter(offset: number): number {
    let low = 0;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const piece = pieces[middle]!; // low <= middle < high <= length
      if (piece.at + piece.source.size <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  async function fill(offset: number, target: Uint8Array, options?: ReadOptions): Promise<void> {
    assertRange(offset, target.length, size);
    const end = offset + target.length;
    let filled = offset;
    for (let i = firstAfter(offset); i < pieces.length; i++) {
      const { at, source } = pieces[i]!; // i < length
      if (at >= end) break;
      const from = Math.max(offset, at);
      const to = Math.min(end, at + source.size);
      target.fill(0, filled - offset, from - offset);
      const part = target.subarray(from - offset, to - offset);
      await fillFrom(source, from - at, part, options);
      filled = to;
    }
    target.fill(0, filled - offset);
  }
  return {
    size,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      const whole = new Uint8Array(length);
      await fill(offset, whole, options);
      return whole;
    },
    // Where no piece can fill, reading is better: several reads may be on their way then.
    ...(pieces.some(({ source }) => source.readInto !== undefined) ? { readInto: fill } : {}),
  };
}

/** Fills `target` from `offset` on, by the way that the source has. */
export async function fillFrom(
  source: Source,
  offset: number,
  target: Uint8Array,
  options?: ReadOptions,
): Promise<void> {
  if (source.readInto === undefined) target.set(await source.read(offset, target.length, options));
  else await source.readInto(offset, target);
}

/** Largest piece that {@link readAll} and {@link chunksOf} ask for at once, in bytes. */
export const CHUNK_SIZE = 4 * 1024 * 1024;

/** The source front to back, in chunks of at most `chunkSize` bytes. */
export async function* chunksOf(source: Source, options: ReadOptions & { readonly chunkSize?: number } = {}) {
  const chunkSize = options.chunkSize ?? CHUNK_SIZE;
  for (let offset = 0; offset < source.size; offset += chunkSize) {
    options.signal?.throwIfAborted();
    yield await source.read(offset, Math.min(chunkSize, source.size - offset), options);
  }
}

/**
 * As {@link chunksOf}, for who is done with a chunk when asking for the next: where the source can, two buffers serve
 * by turns, one being read while the other is used, and holes are not read at all.
 */
export async function* passingChunksOf(
  source: Source,
  options: ReadOptions & {
    readonly chunkSize?: number;
    /** Room for two chunks, for who reads many sources. Default: made here. */
    readonly memory?: Uint8Array | undefined;
  } = {},
) {
  if (source.readInto === undefined) return yield* chunksOf(source, options);
  const chunkSize = Math.min(options.chunkSize ?? CHUNK_SIZE, source.size);
  let using = options.memory?.subarray(0, chunkSize) ?? new Uint8Array(chunkSize);
  let filling = options.memory?.subarray(chunkSize, 2 * chunkSize) ?? new Uint8Array(chunkSize);
  let dataFrom = 0; // what lies before is read already, or is a hole
  const fill = (offset: number) => {
    const target = filling.subarray(0, Math.min(chunkSize, source.size - offset));
    if (source.dataFrom !== undefined && dataFrom <= offset) dataFrom = source.dataFrom(offset);
    if (dataFrom < offset + target.length) return source.readInto?.(offset, target);
    target.fill(0);
    return undefined;
  };
  let pending = source.size > 0 ? fill(0) : undefined;
  try {
    for (let offset = 0; offset < source.size; offset += chunkSize) {
      options.signal?.throwIfAborted();
      if (pending !== undefined) await pending;
      [using, filling] = [filling, using];
      pending = offset + chunkSize < source.size ? fill(offset + chunkSize) : undefined;
      pending?.catch(() => {}); // thrown when its turn comes
      yield using.subarray(0, Math.min(chunkSize, source.size - offset));
    }
  } finally {
    await pending?.catch(() => {}); // nobody may close the source while it is read
  }
}

/** The whole source. Throws SourceError `too-large` where it has more than `limit` bytes; `what` names it there. */
export async function readAll(source: Source, limit: number, what: string): Promise<Uint8Array> {
  if (source.size > limit)
    throw new SourceError("too-large", `${what} has ${source.size} bytes, more than the limit of ${limit}`, {
      expected: limit,
      actual: source.size,
    });
  return source.read(0, source.size);
}
