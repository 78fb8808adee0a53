/** The import rules of ARCHITECTURE.md, as a test: imports go only downward, and nothing reaches around an index. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const CORE = join(import.meta.dirname, "../../core/src");

/** Layer → the layers it may import besides itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  bytes: ["errors"],
  codecs: ["errors", "bytes"],
  hash: ["errors", "bytes"],
  source: ["errors", "bytes"],
  tree: ["errors", "bytes", "hash", "source"],
  formats: ["errors", "bytes", "codecs", "hash", "source", "tree"],
  ops: ["errors", "bytes", "codecs", "hash", "source", "tree", "formats"],
  node: ["errors", "bytes", "codecs", "hash", "source", "tree", "formats", "ops"],
};

/** Formats that may import another format. */
const SIBLINGS: Readonly<Record<string, readonly string[]>> = { composefs: ["erofs", "fsverity"] };

/** npm packages that `core` may import, and where. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@noble/ciphers": ["node"],
  "@noble/hashes": ["hash"],
  "@tufjs/canonical-json": ["ops"],
  "@tufjs/models": ["node"],
  "smol-toml": ["ops"],
  valibot: ["formats", "ops"],
  yaml: ["ops"],
  "@bokuweb/zstd-wasm": ["node"],
  fflate: ["node"],
  koffi: ["node"],
  "tuf-js": ["node"],
};

function* sources(directory: string): Generator<string> {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith(".ts") && !entry.name.endsWith(".d.ts")) yield path;
  }
}

function importsOf(path: string): string[] {
  const text = readFileSync(path, "utf8");
  return [
    ...text.matchAll(/^(?:import|export)\s[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

for (const path of sources(CORE)) {
  const shown = relative(CORE, path);
  const [layer = "", format = ""] = shown.split("/");
  const isTest = shown.endsWith(".test.ts");
  test(`imports of ${shown}`, () => {
    assert.ok(layer in ALLOWED, `${layer} is not a layer`);
    for (const specifier of importsOf(path)) {
      if (!specifier.startsWith(".")) {
        if (isTest) continue;
        const name = specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : specifier.split("/")[0]!;
        if (specifier.startsWith("node:")) assert.equal(layer, "node", `${specifier} outside core/src/node`);
        else assert.ok(PACKAGES[name]?.includes(layer), `package ${name} is not allowed in ${layer}`);
        continue;
      }
      const target = relative(CORE, resolve(dirname(path), specifier));
      assert.ok(!target.startsWith(".."), `${specifier} leaves core`);
      const [targetLayer = "", targetFormat = ""] = target.split("/");
      const allowed =
        targetLayer === layer || ALLOWED[layer]!.includes(targetLayer) || (isTest && targetLayer === "node");
      assert.ok(allowed, `${layer} must not import ${targetLayer} (${specifier})`);
      if (layer === "formats" && targetLayer === "formats" && targetFormat !== format)
        assert.ok(
          SIBLINGS[format]?.includes(targetFormat) || isTest,
          `format ${format} must not import ${targetFormat}`,
        );
      if (targetLayer !== layer && ["errors", "bytes", "codecs", "hash", "source", "tree"].includes(targetLayer))
        assert.ok(target.endsWith("/index.ts"), `${specifier} reaches around the index of ${targetLayer}`);
    }
  });
}

test("no module of core holds mutable state at its top level", () => {
  for (const path of sources(CORE)) {
    if (path.endsWith(".test.ts")) continue;
    assert.doesNotMatch(readFileSync(path, "utf8"), /^(export )?(let|var) /m, relative(CORE, path));
  }
});

test("what is loaded by its place among the files goes through one module, which the single executable replaces", () => {
  for (const folder of [CORE, join(CORE, "../../cli/src")])
    for (const path of sources(folder)) {
      if (path.endsWith(".test.ts") || path.endsWith("/own-files.ts")) continue;
      assert.doesNotMatch(readFileSync(path, "utf8"), /\bimport\.meta\b|__dirname|createRequire/, relative(CORE, path));
    }
});
