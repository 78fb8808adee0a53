/** Memory that nothing uses any more, before a great deal is wanted at once: V8 sees no hurry, as WASM is not counted in its heap. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * V8 shows its function to contexts that are made while the flag is set. Node's own `--expose-gc` would have to be in the
 * executable, and have V8 refuse compiled code.
 */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  try {
    (runInNewContext("gc") as () => void)();
  } finally {
    setFlagsFromString("--no-expose-gc");
  }
}
