/** The LZ4 decoder of core/assembly/lz4-decode.ts; where it cannot be, or refuses a block, the plain one. */
import { fromBase64 } from "../bytes/index.ts";
import type { Stream } from "./decompressor.ts";
import { decodeLz4 } from "./lz4.ts";
import { LZ4_DECODE_WASM } from "./lz4-decode-wasm.ts";

/** Exported globals of the module: addresses in its memory, and sizes. */
type Constant = { readonly value: number };
interface Lz4DecodeModule {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly INPUT: Constant;
  readonly INPUT_CAPACITY: Constant;
  readonly OUTPUT: Constant;
  readonly OUTPUT_CAPACITY: Constant;
  readonly ARENA: Constant;
  readonly ARENA_CAPACITY: Constant;
  readonly SLACK: Constant;
  /** @param input, output addresses */
  decode(input: number, size: number, output: number, outputSize: number, isPartial: boolean, hasRest: boolean): number;
}

export interface Lz4Decoder {
  /** As {@link decodeLz4}. */
  readonly decode: (stream: Stream, output: Uint8Array) => number;
  /** As that of the port Decompressor. */
  buffer(size: number): Uint8Array;
}

/** Undefined where the host has no WebAssembly or forbids it, as the policy of a web page may. */
function instantiate(): Lz4DecodeModule | undefined {
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(fromBase64(LZ4_DECODE_WASM)));
    return exports as unknown as Lz4DecodeModule; // what core/assembly/lz4-decode.ts exports
  } catch {
    return undefined;
  }
}

export function createLz4Decoder(): Lz4Decoder {
  const module = instantiate();
  if (module === undefined) return { decode: decodeLz4, buffer: (size) => new Uint8Array(size) };
  const { buffer: memory } = module.memory; // of fixed size, so it is never detached
  const inputs = new Uint8Array(memory, module.INPUT.value, module.INPUT_CAPACITY.value);
  const outputs = new Uint8Array(memory, module.OUTPUT.value, module.OUTPUT_CAPACITY.value);
  const arenaEnd = module.ARENA.value + module.ARENA_CAPACITY.value;
  let free = module.ARENA.value;
  return {
    decode(stream, output) {
      const { bytes, start, isPartial, hasRest } = stream;
      const size = bytes.length - start;
      if (size <= inputs.length && output.length <= outputs.length) {
        const isInputThere = bytes.buffer === memory;
        const isOutputThere = output.buffer === memory;
        if (!isInputThere) inputs.set(start === 0 ? bytes : bytes.subarray(start));
        const from = isInputThere ? bytes.byteOffset + start : inputs.byteOffset;
        const to = isOutputThere ? output.byteOffset : outputs.byteOffset;
        const used = module.decode(from, size, to, output.length, isPartial, hasRest);
        if (used >= 0) {
          if (!isOutputThere) output.set(outputs.subarray(0, output.length));
          return start + used;
        }
      }
      return decodeLz4(stream, output); // it says what is wrong and where
    },
    buffer(size) {
      if (size > arenaEnd - free) return new Uint8Array(size);
      const made = new Uint8Array(memory, free, size);
      free += size + module.SLACK.value; // the last one's is behind the arena
      return made;
    },
  };
}
