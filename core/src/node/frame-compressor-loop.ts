/** The inner loop of frame compression: shared by the worker and by the calling thread. */
import { concatBytes } from "../bytes/index.ts";

export function compressAll(
  blocks: Uint8Array,
  frameSize: number,
  compress: (frame: Uint8Array) => Uint8Array,
): { readonly frames: Uint8Array<ArrayBuffer>; readonly sizes: readonly number[] } {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < blocks.length; at += frameSize) frames.push(compress(blocks.subarray(at, at + frameSize)));
  return { frames: concatBytes(...frames), sizes: frames.map(({ length }) => length) };
}

export function cutFrames(frames: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  let at = 0;
  return sizes.map((size) => {
    at += size;
    return frames.subarray(at - size, at);
  });
}
