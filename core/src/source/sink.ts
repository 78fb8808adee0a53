/** Where bytes go. */
import type { Source } from "./source.ts";

/**
 * Strictly forward output. When `write` resolves the caller may reuse `bytes`. One call at a time.
 * `skip` advances over bytes that read as zero, leaving a hole where the host has holes.
 */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  skip(length: number): Promise<void>;
}

/** Output with fixed places, for the few things known last. Bytes never written read as zero. */
export interface RandomSink {
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
}

/** Temporary bytes: appended once, read anywhere, gone when disposed. */
export interface Scratch extends Source {
  readonly size: number;
  append(bytes: Uint8Array): Promise<void>;
  dispose(): Promise<void>;
}

/** Makes temporary files, or buffers where there are none. */
export interface ScratchSpace {
  create(): Promise<Scratch>;
}

/** A forward sink into `target` from `start` on. `position` counts from the start of `target`. */
export function forwardSink(target: RandomSink, start = 0): Sink & { readonly position: number } {
  let position = start;
  return {
    get position() {
      return position;
    },
    async write(bytes) {
      const at = position;
      position += bytes.length;
      await target.writeAt(at, bytes);
    },
    async skip(length) {
      position += length;
    },
  };
}

/** Grows in memory; for small things and tests. `bytes()` is the image up to the highest byte written. */
export function memorySink(): RandomSink & { bytes(): Uint8Array<ArrayBuffer>; setSize(size: number): void } {
  let buffer = new Uint8Array(4096);
  let size = 0;
  function reserve(end: number): void {
    if (end > buffer.length) {
      const grown = new Uint8Array(Math.max(end, buffer.length * 2));
      grown.set(buffer);
      buffer = grown;
    }
    size = Math.max(size, end);
  }
  return {
    async writeAt(offset, bytes) {
      reserve(offset + bytes.length);
      buffer.set(bytes, offset);
    },
    setSize(wanted) {
      if (wanted < size) {
        buffer.fill(0, wanted, size);
        size = wanted;
      } else reserve(wanted);
    },
    bytes: () => buffer.slice(0, size),
  };
}

/** One temporary file in memory. */
export function memoryScratchFile(): Scratch {
  const sink = memorySink();
  let size = 0;
  let view: Uint8Array | undefined;
  return {
    get size() {
      return size;
    },
    async append(bytes) {
      await sink.writeAt(size, bytes);
      size += bytes.length;
      view = undefined;
    },
    async read(offset, length) {
      view ??= sink.bytes();
      if (offset + length > size) throw new RangeError(`read past the end of scratch: ${offset}+${length} of ${size}`);
      return view.subarray(offset, offset + length);
    },
    async dispose() {},
  };
}

/** Scratch space in memory; for tests and browsers. */
export const memoryScratch: ScratchSpace = { create: async () => memoryScratchFile() };
