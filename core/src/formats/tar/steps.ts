/** How the parser takes bytes that come in chunks: as generators that stop where they need more. */
import { alignUp } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { BLOCK_SIZE } from "./format.ts";
import type { TarEntry } from "./header.ts";

export type TarEvent =
  | { readonly kind: "entry"; readonly entry: TarEntry }
  /** The next stored bytes of the last entry: a view of the chunk, valid until the next `push`. */
  | { readonly kind: "data"; readonly bytes: Uint8Array };

export interface Input {
  /** Valid until its last byte is used up; whoever lent it may take it back then. */
  chunk: Uint8Array;
  /** Bytes of `chunk` that are used up. */
  at: number;
  /** Position of `chunk` in the archive. */
  start: number;
  ended: boolean;
  /** Bytes that are passed over next, while the parser waits for them. */
  passing: number;
  /** Bytes that stand in for a push. */
  skipped: number;
}

/** Yields events, and undefined where it needs more bytes. */
export type Steps<T> = Generator<TarEvent | undefined, T, void>;

export function position(input: Input): number {
  return input.start + input.at;
}

/** True once there is at least one byte; false at the end of the archive. */
export function* fill(input: Input): Steps<boolean> {
  while (input.at >= input.chunk.length && input.skipped === 0) {
    if (input.ended) return false;
    yield undefined;
  }
  return true;
}

/** Exactly `size` bytes, copied: they are kept over later pushes, when the memory of the chunk may hold other bytes. */
export function* take(input: Input, size: number, context: () => string): Steps<Uint8Array> {
  if (input.chunk.length - input.at >= size) {
    input.at += size;
    return new Uint8Array(input.chunk.subarray(input.at - size, input.at));
  }
  let bytes = new Uint8Array(Math.min(size, 65536)); // grows with what really arrives
  let filled = 0;
  while (filled < size) {
    if (!(yield* fill(input))) throw truncated(input, context(), size - filled);
    const piece = input.chunk.subarray(input.at, input.at + size - filled);
    if (filled + piece.length > bytes.length) {
      const grown = new Uint8Array(Math.min(size, 2 * (filled + piece.length)));
      grown.set(bytes.subarray(0, filled));
      bytes = grown;
    }
    bytes.set(piece, filled);
    filled += piece.length;
    input.at += piece.length;
  }
  return bytes.subarray(0, size);
}

/** Passes over `size` bytes; gives them out as data where `emit` is set. */
export function* pass(input: Input, size: number, emit: boolean, context: () => string): Steps<void> {
  let left = size;
  while (left > 0) {
    input.passing = left;
    if (!(yield* fill(input))) throw truncated(input, context(), left);
    input.passing = 0;
    if (input.skipped > 0) {
      left -= input.skipped;
      input.start += input.skipped;
      input.skipped = 0;
      continue;
    }
    const length = Math.min(left, input.chunk.length - input.at);
    const from = input.at;
    input.at += length;
    left -= length;
    if (emit) yield { kind: "data", bytes: input.chunk.subarray(from, from + length) };
  }
}

export function truncated(input: Input, context: string, missing: number): FormatError {
  const offset = position(input);
  return new FormatError("truncated", `${context}: the archive ends at ${offset}, ${missing} bytes are missing`, {
    offset,
  });
}

export function padding(size: number): number {
  return alignUp(size, BLOCK_SIZE) - size;
}
