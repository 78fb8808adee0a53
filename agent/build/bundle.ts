/** Turns the sources of the command into the one script and the assets that the single executable carries. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { build, type Plugin } from "esbuild";
import type { WorkerName } from "../../core/src/node/own-files.ts";
import { ASSETS } from "../src/assets.ts";

const AGENT = join(import.meta.dirname, "..");
const NODE_PART = join(AGENT, "../core/src/node");
const WORKERS: readonly WorkerName[] = ["block-hasher", "cluster-encoder", "frame-compressor"];
const fromCore = createRequire(join(NODE_PART, "index.ts"));
const zstdFolder = () => dirname(fromCore.resolve("@bokuweb/zstd-wasm"));

/** In the executable nothing lies beside the script: what is loaded by its place comes out of the assets. */
const assetsForFiles: Plugin = {
  name: "assets-for-files",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/own-files\.ts$/ }, () => ({ path: join(AGENT, "src/own-files.ts") }));
    onResolve({ filter: /^@bokuweb\/zstd-wasm\/module$/ }, () => ({ path: join(zstdFolder(), "module.js") }));
    onLoad({ filter: /zstd-wasm[/\\]dist[/\\]common[/\\]index\.node\.js$/ }, async ({ path }) => {
      const text = await readFile(path, "utf8");
      const contents = text.replace(
        /\breadFile\(resolve\(__dirname, '\.\/zstd\.wasm'\)\)/,
        `new Uint8Array(require("node:sea").getRawAsset(${JSON.stringify(ASSETS.zstd)}))`,
      );
      if (contents === text) throw new Error(`${path}: does not load its WASM as it did`);
      return { contents, loader: "js" };
    });
  },
};

async function bundle(entry: string, format: "cjs" | "esm"): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: "node",
    target: "node24",
    format,
    // A stack names functions and lines as the sources do; smaller names would save 1 % of the executable.
    minifyWhitespace: true,
    legalComments: "none",
    plugins: [assetsForFiles],
    // A bundled CommonJS module calls `require` for Node's own modules; an ES module has none of its own.
    ...(format === "esm" && {
      banner: { js: 'import{createRequire}from"node:module";const require=createRequire("file:///");' },
    }),
    logLevel: "silent",
  });
  return outputFiles[0]!.text; // one entry, one file
}

export interface Bundle {
  /** A CommonJS module. */
  readonly script: string;
  readonly assets: ReadonlyMap<string, string | Uint8Array>;
}

/** @param koffi path of its native module */
export async function bundleCommand(koffi: string): Promise<Bundle> {
  const assets = new Map<string, string | Uint8Array>();
  for (const name of WORKERS)
    assets.set(ASSETS.worker(name), await bundle(join(NODE_PART, `${name}-worker.ts`), "esm"));
  assets.set(ASSETS.koffi, await readFile(koffi));
  assets.set(ASSETS.zstd, await readFile(join(zstdFolder(), "zstd.wasm")));
  return { script: await bundle(join(AGENT, "src/main.ts"), "cjs"), assets };
}
