/**
 * Single zstd frames with one context for all of them: Node's own `zstdDecompressSync` makes a context, a stream and buffers
 * for each, most of the work of the garbage collector where there are thousands (measured, 64 KiB clusters).
 */
import { zstdFrameHeader, zstdFrameSize } from "../codecs/index.ts";
import { loadNativeZstd } from "./native.ts";
import { loadLibrary } from "./zstd-wasm.ts";

/** Fills `output` from a frame that holds exactly as many bytes and says so; false where it is none, or broken. */
export type DecompressFrame = (frame: Uint8Array, output: Uint8Array) => boolean;

/** By the zstd in Node's program; where that cannot be called, by the pinned WASM build at half its speed. */
export async function loadFrameDecompressor(): Promise<DecompressFrame> {
  const decompress = loadNativeZstd() ?? (await loadWasmDecompressor());
  // Before zstd sees it: the WASM build makes as much room as the frame asks for, and both take several frames for one.
  return (frame, output) => isFrameOf(frame, output.length) && decompress(frame, output);
}

export async function loadWasmDecompressor(): Promise<DecompressFrame> {
  const { createDCtx, decompressUsingDict } = await loadLibrary();
  const context = createDCtx();
  const none = new Uint8Array(0);
  return (frame, output) => {
    try {
      const content = decompressUsingDict(context, frame, none);
      if (content.length !== output.length) return false;
      output.set(content);
      return true;
    } catch {
      return false;
    }
  };
}

/** Whether the bytes are one frame, all of it and nothing behind it, whose header says that it holds `size` bytes. */
export function isFrameOf(bytes: Uint8Array, size: number): boolean {
  const header = zstdFrameHeader(bytes);
  return header?.contentSize === size && !header.hasDictionary && zstdFrameSize(bytes) === bytes.length;
}
