/** The committed WebAssembly is what its source gives. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { WASM_MODULES, wasmModule } from "../../scripts/lib/wasm.ts";

for (const module of WASM_MODULES)
  test(`${module.source}, compiled, is what is there (npm run wasm writes it)`, () => {
    assert.equal(readFileSync(module.file, "utf8"), wasmModule(module));
  });
