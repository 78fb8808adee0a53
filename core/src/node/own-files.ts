/**
 * What of this package is loaded by its place among the files: programs of worker threads, the module of native calls. The
 * single executable has no files; there `agent/src/own-files.ts` stands in for this module.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type WorkerName = "block-hasher" | "cluster-encoder" | "frame-compressor";

export function workerUrl(name: WorkerName): URL {
  return new URL(`./${name}-worker.ts`, import.meta.url);
}

/** Throws where there is no koffi for this machine. */
export function loadKoffi(): Pick<typeof import("koffi"), "load" | "errno"> {
  return createRequire(import.meta.url)("koffi") as typeof import("koffi");
}

/** The memory and the functions of the one zstd there is, which its package does not export. */
export function loadZstdModule(): unknown {
  const require = createRequire(import.meta.url);
  return require(join(dirname(require.resolve("@bokuweb/zstd-wasm")), "module.js")).Module;
}
