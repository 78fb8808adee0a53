/** Decompression of single zstd frames, with Node's own zstd. */
import { zstdDecompressSync } from "node:zlib";
import { FormatError } from "../errors/index.ts";
import type { DecompressFrame } from "../ops/environment.ts";
import { collectGarbage } from "./collect-garbage.ts";

/** Bytes of content of frames between two collections, each of which takes 20 ms (measured). */
const COLLECT_EVERY = 4 * 1024 * 1024;

/** 171 MB of a Debian root in frames of 64 KiB: 0.2 s, as much as with the WASM build (measured, Node 24.21). */
export const decompressFrame: DecompressFrame = (frame, size, what) => {
  let bytes: Uint8Array;
  try {
    bytes = zstdDecompressSync(frame, { maxOutputLength: Math.max(size, 1), chunkSize: Math.max(size, 64) });
  } catch (cause) {
    throw new FormatError("bad-zstd", `${what}: is not a zstd frame of ${size} bytes`, { cause, path: what });
  }
  if (bytes.length === size) return bytes;
  throw new FormatError("bad-zstd", `${what}: is a zstd frame of ${bytes.length} bytes, ${size} are expected`, {
    path: what,
    expected: size,
    actual: bytes.length,
  });
};

/** For machines, whose memory is others': V8 lets go of large frames late, 30 to 70 MB of them. */
export function thriftyFrameDecompressor(): DecompressFrame {
  let garbage = 0;
  return (frame, size, what) => {
    garbage += size;
    if (garbage >= COLLECT_EVERY) {
      collectGarbage();
      garbage = 0;
    }
    return decompressFrame(frame, size, what);
  };
}
