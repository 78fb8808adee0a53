/**
 * Single zstd frames with one context for all of them: Node's own `zstdDecompressSync` makes a context, a stream and buffers
 * for each, most of the work of the garbage collector where there are thousands (measured, 64 KiB clusters).
 */
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

/** RFC 8878, section 3.1.1. */
const MAGIC = 0xfd2fb528;
const BLOCK_RLE = 1;

/** Whether the bytes are one frame, all of it and nothing behind it, whose header says that it holds `size` bytes. */
export function isFrameOf(bytes: Uint8Array, size: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 5 || view.getUint32(0, true) !== MAGIC) return false;
  const descriptor = bytes[4]!; // there are five
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  if ((descriptor & 3) !== 0 || (sizeFlag === 0 && !isSingleSegment)) return false; // a dictionary; no size
  let at = isSingleSegment ? 5 : 6;
  const sizeBytes = 1 << sizeFlag;
  if (at + sizeBytes > bytes.length || declaredSize(view, at, sizeBytes) !== size) return false;
  at += sizeBytes;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return false;
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16); // as just seen
    isLast = (word & 1) === 1;
    at += 3 + (((word >> 1) & 3) === BLOCK_RLE ? 1 : word >> 3);
  }
  return at + ((descriptor & 4) === 0 ? 0 : 4) === bytes.length;
}

function declaredSize(view: DataView, at: number, sizeBytes: number): number {
  if (sizeBytes === 1) return view.getUint8(at);
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  if (sizeBytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
