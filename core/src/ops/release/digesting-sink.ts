/** The digest of an output that is written forward, made while it is written: nothing is read back, holes least of all. */
import { type Digest, formatDigest, type Hashes } from "../../hash/index.ts";
import type { RandomSink } from "../../source/index.ts";

/** Zeros for gaps are hashed in pieces of this many bytes. */
const ZEROS_SIZE = 1024 * 1024;

export interface DigestingSink extends RandomSink {
  /** Throws RangeError for a write behind one that was made already. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
  /** The digest of all `size` bytes. Nothing may be written afterwards. */
  finish(size: number): Promise<Digest>;
}

export interface DigestingOptions {
  /** @param amount bytes hashed since the last call */
  readonly onProgress?: (amount: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export function digestingSink(target: RandomSink, hashes: Hashes, options: DigestingOptions = {}): DigestingSink {
  const hasher = hashes.create("sha256");
  const zeros = new Uint8Array(ZEROS_SIZE);
  let position = 0;
  function update(bytes: Uint8Array): void {
    hasher.update(bytes);
    position += bytes.length;
    options.onProgress?.(bytes.length);
  }
  /** Gives other work a turn between pieces: gaps of gigabytes take seconds. */
  async function fillTo(offset: number): Promise<void> {
    if (offset < position) throw new RangeError(`write at ${offset}, behind ${position}`);
    while (position < offset) {
      options.signal?.throwIfAborted();
      update(zeros.subarray(0, Math.min(ZEROS_SIZE, offset - position)));
      if (position % (64 * ZEROS_SIZE) < ZEROS_SIZE) await new Promise<void>((resolve) => setTimeout(resolve));
    }
  }
  return {
    async writeAt(offset, bytes) {
      await fillTo(offset);
      update(bytes);
      await target.writeAt(offset, bytes);
    },
    async finish(size) {
      await fillTo(size);
      return formatDigest("sha256", hasher.digest());
    },
  };
}
