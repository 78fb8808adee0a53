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
  decode(size: number, outputSize: number, isPartial: boolean, hasRest: boolean): number;
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

/** As {@link decodeLz4}. */
export function createLz4Decoder(): (stream: Stream, output: Uint8Array) => number {
  const module = instantiate();
  if (module === undefined) return decodeLz4;
  const { buffer } = module.memory; // of fixed size, so it is never detached
  const inputs = new Uint8Array(buffer, module.INPUT.value, module.INPUT_CAPACITY.value);
  const outputs = new Uint8Array(buffer, module.OUTPUT.value, module.OUTPUT_CAPACITY.value);
  return (stream, output) => {
    const { bytes, start, isPartial, hasRest } = stream;
    const size = bytes.length - start;
    if (size <= inputs.length && output.length <= outputs.length) {
      inputs.set(start === 0 ? bytes : bytes.subarray(start));
      const used = module.decode(size, output.length, isPartial, hasRest);
      if (used >= 0) {
        output.set(outputs.subarray(0, output.length));
        return start + used;
      }
    }
    return decodeLz4(stream, output); // it says what is wrong and where
  };
}
