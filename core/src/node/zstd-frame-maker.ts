/**
 * Frames for clusters by the pinned WASM build, through its own functions and one buffer: the package's calls make three of
 * them for each frame, which took 100 MB of memory and a tenth of the time (zstd 3, measured).
 */
import type { FrameMaker } from "../codecs/index.ts";
import { loadZstdModule } from "./own-files.ts";
import { loadLibrary, once, type ZstdMemory } from "./zstd-wasm.ts";

interface ZstdContexts extends ZstdMemory {
  _ZSTD_createCCtx(): number;
  _ZSTD_freeCCtx(context: number): number;
  /** Bytes of the frame, or more than any frame has for an error. */
  _ZSTD_compress_usingDict(
    context: number,
    target: number,
    capacity: number,
    content: number,
    size: number,
    dictionary: number,
    dictionarySize: number,
    level: number,
  ): number;
}

/** Levels up to here find their matches in the same places whatever a context did before (zstd's double-fast strategy). */
const MAX_REUSED_LEVEL = 3;

/**
 * Makers of frames, one for each run of frames that belong together. A context is some 150 µs, as much as a small frame, so
 * one is used again where that changes no byte; else each run has its own.
 */
export const loadFrameMaker: () => Promise<(level: number) => FrameMaker> = once(async () => {
  await loadLibrary();
  const zstd = loadZstdModule() as ZstdContexts;
  let context = 0;
  let room = { size: 0, content: 0, target: 0, capacity: 0 };

  function makeRoom(size: number): void {
    for (const address of [room.content, room.target]) if (address !== 0) zstd._free(address);
    const capacity = zstd._ZSTD_compressBound(size);
    room = { size, content: zstd._malloc(size), target: zstd._malloc(capacity), capacity };
    if (room.content === 0 || room.target === 0) throw new RangeError(`no memory to compress ${size} bytes`);
  }
  function compress(own: number, content: Uint8Array, level: number): Uint8Array {
    if (content.length > room.size) makeRoom(content.length);
    const { target, capacity } = room;
    zstd.HEAPU8.set(content, room.content);
    const size = zstd._ZSTD_compress_usingDict(own, target, capacity, room.content, content.length, 0, 0, level) >>> 0;
    if (size > capacity) throw new Error(`zstd failed with ${size - 2 ** 32}`);
    return zstd.HEAPU8.subarray(target, target + size);
  }
  return (level) => {
    if (context !== 0 && level > MAX_REUSED_LEVEL) {
      zstd._ZSTD_freeCCtx(context);
      context = 0;
    }
    if (context === 0) context = zstd._ZSTD_createCCtx();
    const own = context;
    return { compress: (content, wanted) => compress(own, content, wanted) };
  };
});
