// Compiles core/assembly into modules of core/src/codecs: `npm run wasm`. test/house/wasm.test.ts compares.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { toBase64 } from "../../core/src/bytes/index.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface WasmModule {
  readonly source: string;
  readonly file: string;
  /** Of the constant that holds it. */
  readonly name: string;
  /** Memory in units of 64 KiB: END of the source, rounded up. */
  readonly pages: number;
}

const CODECS = join(ROOT, "core/src/codecs");
export const WASM_MODULES: readonly WasmModule[] = [
  { source: "core/assembly/lz4.ts", file: join(CODECS, "lz4-wasm.ts"), name: "LZ4_WASM", pages: 188 },
  {
    source: "core/assembly/lz4-decode.ts",
    file: join(CODECS, "lz4-decode-wasm.ts"),
    name: "LZ4_DECODE_WASM",
    pages: 305,
  },
];

/** What the file should hold. The compiler's version is pinned, since its output is. */
export function wasmModule({ source, name, pages }: WasmModule): string {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-wasm-"));
  try {
    const out = join(folder, "module.wasm");
    const compiler = join(ROOT, "node_modules/assemblyscript/bin/asc.js");
    const memory = ["--initialMemory", String(pages), "--maximumMemory", String(pages)];
    const options = ["--runtime", "stub", "--noAssert", "-O3", "--enable", "simd", ...memory];
    execFileSync(process.execPath, [compiler, source, ...options, "-o", out], { cwd: ROOT, stdio: "pipe" });
    const text = toBase64(new Uint8Array(readFileSync(out)));
    return [
      `/** ${source}, compiled by \`npm run wasm\`. */`,
      "// biome-ignore format: one string",
      `export const ${name} = "${text}";`,
      "",
    ].join("\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename)
  for (const module of WASM_MODULES) writeFileSync(module.file, wasmModule(module));
