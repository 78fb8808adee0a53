// Compiles core/assembly into core/src/codecs/lz4-wasm.ts: `npm run wasm`. test/house/wasm.test.ts compares.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { toBase64 } from "../../core/src/bytes/index.ts";

const ROOT = join(import.meta.dirname, "../..");
export const FILE = join(ROOT, "core/src/codecs/lz4-wasm.ts");

/** What the file should hold. The compiler's version is pinned, since its output is. */
export function wasmModule(): string {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-wasm-"));
  try {
    const out = join(folder, "lz4.wasm");
    const compiler = join(ROOT, "node_modules/assemblyscript/bin/asc.js");
    const pages = "176"; // of 64 KiB; END of the source, rounded up
    const options = ["--runtime", "stub", "--noAssert", "-O3", "--initialMemory", pages, "--maximumMemory", pages];
    const source = "core/assembly/lz4.ts";
    execFileSync(process.execPath, [compiler, source, ...options, "-o", out], { cwd: ROOT, stdio: "pipe" });
    const text = toBase64(new Uint8Array(readFileSync(out)));
    return [
      "/** core/assembly/lz4.ts, compiled by `npm run wasm`. */",
      "// biome-ignore format: one string",
      `export const LZ4_WASM = "${text}";`,
      "",
    ].join("\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, wasmModule());
