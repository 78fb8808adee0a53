/** Reads file contents ahead of their use, in order, within a bounded window. */
import type { ByteString } from "../../bytes/index.ts";
import {
  FormatError,
  IntegrityError,
  isAshlarError,
  PolicyError,
  SinkError,
  SourceError,
  UnsupportedError,
} from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { showPath } from "../../tree/index.ts";

export const READ_SIZE = 1024 * 1024; // bytes of one read
const WINDOW_BYTES = 4 * READ_SIZE; // asked for and not yet handed on
const WINDOW_READS = 64; // small files are read this many at a time

export interface PlannedRead {
  readonly source: Source;
  /** For errors. */
  readonly path: ByteString;
  readonly offset: number;
  readonly length: number;
  /** Nothing of this file follows. */
  readonly isLast: boolean;
}

export interface DoneRead<Read extends PlannedRead = PlannedRead> {
  readonly read: Read;
  /** Undefined where the source can fill the caller's own buffer: see {@link fillFrom}. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * The bytes of each read, in order. The source's own error is thrown again with the path in front; SourceError
 * `short-read` where a source gives another length than asked, `read-failed` for errors that are not ours.
 */
export async function* readAhead<Read extends PlannedRead>(
  reads: Iterable<Read>,
  { signal }: { readonly signal?: AbortSignal | undefined },
): AsyncGenerator<DoneRead<Read>> {
  const planned = reads[Symbol.iterator]();
  const waiting: { readonly read: Read; readonly bytes: Promise<Uint8Array> | undefined }[] = [];
  let head = 0; // waiting[0..head) are done; dropped in bulk, since shift() on a long array is slow
  let bytesWaiting = 0;
  let next = planned.next();
  for (;;) {
    while (!next.done && waiting.length - head < WINDOW_READS && (bytesWaiting === 0 || bytesWaiting < WINDOW_BYTES)) {
      const read = next.value;
      const bytes = read.source.readInto === undefined ? checkedRead(read, signal) : undefined;
      bytes?.catch(() => {}); // thrown when its turn comes; one that is never reached must not reach the host
      waiting.push({ read, bytes });
      if (bytes !== undefined) bytesWaiting += read.length;
      next = planned.next();
    }
    const first = waiting[head];
    if (first === undefined) return;
    signal?.throwIfAborted();
    const bytes = first.bytes === undefined ? undefined : await first.bytes;
    head++;
    if (head === WINDOW_READS) {
      waiting.splice(0, head);
      head = 0;
    }
    if (bytes !== undefined) bytesWaiting -= first.read.length;
    yield { read: first.read, bytes };
  }
}

/** Fills `target` with the bytes of `read` from `at` on; the source must have `readInto`. Errors as {@link readAhead}. */
export function fillFrom(read: PlannedRead, target: Uint8Array, at: number): Promise<void> | undefined {
  const fail = (error: unknown): never => {
    throw withPath(error, showPath(read.path));
  };
  try {
    return read.source.readInto?.(read.offset + at, target)?.catch(fail);
  } catch (error) {
    return fail(error);
  }
}

async function checkedRead(read: PlannedRead, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await read.source.read(read.offset, read.length, signal === undefined ? undefined : { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw withPath(error, showPath(read.path));
  }
  if (bytes.length !== read.length) {
    const path = showPath(read.path);
    throw new SourceError(
      "short-read",
      `${path}: its source gave ${bytes.length} bytes at ${read.offset}, ${read.length} were asked for`,
      { path, offset: read.offset, expected: read.length, actual: bytes.length },
    );
  }
  return bytes;
}

const CLASSES = { FormatError, IntegrityError, PolicyError, SinkError, SourceError, UnsupportedError };

/** The same class and code, so that an integrity error stays one. */
function withPath(error: unknown, path: string): Error {
  if (!isAshlarError(error)) {
    const reason = error instanceof Error ? error.message : String(error);
    return new SourceError("read-failed", `${path}: cannot be read: ${reason}`, { path, cause: error });
  }
  return new CLASSES[error.kind](error.code, `${path}: ${error.message}`, { ...error.details, path, cause: error });
}
