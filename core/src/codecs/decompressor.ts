/** Decompression of single blocks whose size is known: the port, and what its implementations share. */
import { FormatError } from "../errors/index.ts";

export type CompressionAlgorithm = "lz4" | "microlzma" | "deflate" | "zstd";

/**
 * How the compressed bytes lie in the input. `exact`: they are all of it. `zeros-before`: zeros come first, as in EROFS'
 * right-aligned clusters; no stream of the four starts with a zero byte. `rest-after`: the stream ends somewhere, and what
 * follows is not looked at; an LZ4 block, which has no end of its own, ends where the output is full.
 */
export type Placement = "exact" | "zeros-before" | "rest-after";

export interface DecompressOptions {
  /** `exact` when absent. */
  readonly placement?: Placement | undefined;
  /** The stream may hold more than the output takes; else that is an error. */
  readonly isPartial?: boolean | undefined;
  /** Bytes that a match may reach back, where the container limits it: LZMA's dictionary, zstd's window. */
  readonly windowSize?: number | undefined;
  /** Names the stream in errors, such as `cluster 3 of inode 40`. */
  readonly what?: string | undefined;
  /** Position of the input in the thing that a person has; added to the positions in errors. */
  readonly offset?: number | undefined;
}

/** Synchronous decompression; the host's native one, or {@link pureDecompressor}. */
export interface Decompressor {
  /**
   * Fills `output`, all of it, which must not overlap `input`; after an error its bytes mean nothing. Throws FormatError
   * `bad-compression` with the position in the input for a stream that is broken or does not yield exactly as many bytes,
   * and UnsupportedError `zstd-dictionary`.
   */
  decompress(algorithm: CompressionAlgorithm, input: Uint8Array, output: Uint8Array, options?: DecompressOptions): void;
  /** Loads what makes these faster, where there is something to load. */
  prepare?(algorithms: readonly CompressionAlgorithm[]): Promise<void>;
  /**
   * Memory for input or output of one of these that is not copied on the way, where there is some; else any other. It is
   * never given back: for few buffers that are used again and again.
   */
  buffer?(algorithms: readonly CompressionAlgorithm[], size: number): Uint8Array;
}

/** What one of the four gets: its stream starts at `start` of `bytes` and ends at the end of them, or before it. */
export interface Stream {
  readonly algorithm: CompressionAlgorithm;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly isPartial: boolean;
  /** Whether an LZ4 block may end before the bytes do. */
  readonly hasRest: boolean;
  /** Bytes; Infinity where nothing limits it. */
  readonly windowSize: number;
  readonly what: string;
  readonly offset: number;
}

/** @param at position in the bytes of the stream */
export function broken({ algorithm, what, offset }: Stream, at: number, reason: string): FormatError {
  const position = offset + at;
  return new FormatError("bad-compression", `${what}: broken ${algorithm} stream at ${position}: ${reason}`, {
    offset: position,
  });
}

/** The stream has all its input used up before the output is full. */
export function tooShort(stream: Stream): FormatError {
  return broken(stream, stream.bytes.length, "it ends too early");
}

export function yieldsLess(stream: Stream, at: number, actual: number, expected: number): FormatError {
  return broken(stream, at, `it yields ${actual} bytes, not ${expected}`);
}

export function yieldsMore(stream: Stream, at: number, expected: number): FormatError {
  return broken(stream, at, `it yields more than ${expected} bytes`);
}

/** Where the stream starts in `input`, by its placement. */
export function streamStart(input: Uint8Array, placement: Placement): number {
  if (placement !== "zeros-before") return 0;
  let start = 0;
  while (start < input.length && input[start] === 0) start++;
  return start;
}

/** The options in full, and where the stream starts. */
export function openStream(
  algorithm: CompressionAlgorithm,
  bytes: Uint8Array,
  options: DecompressOptions = {},
): Stream {
  const { placement = "exact", isPartial = false, windowSize = Number.POSITIVE_INFINITY } = options;
  return {
    algorithm,
    bytes,
    start: streamStart(bytes, placement),
    isPartial,
    hasRest: placement === "rest-after",
    windowSize,
    what: options.what ?? "compressed data",
    offset: options.offset ?? 0,
  };
}

/** After the output is full: refuses input that the stream left over. @param end where the stream ended */
export function assertEnd(stream: Stream, end: number): void {
  if (stream.isPartial || stream.hasRest || end === stream.bytes.length) return;
  throw broken(stream, end, `${stream.bytes.length - end} bytes follow its end`);
}
