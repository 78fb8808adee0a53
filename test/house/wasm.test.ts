/** The committed WebAssembly is what its source gives. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FILE, wasmModule } from "../../scripts/lib/wasm.ts";

test("core/src/codecs/lz4-wasm.ts is up to date (npm run wasm writes it)", () => {
  assert.equal(readFileSync(FILE, "utf8"), wasmModule());
});
