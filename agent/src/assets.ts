/** Names of the files inside of the single executable; shared by what puts them in and what takes them out. */
import type { WorkerName } from "../../core/src/node/own-files.ts";

export const ASSETS = {
  koffi: "koffi.node",
  zstd: "zstd.wasm",
  worker: (name: WorkerName): string => `${name}-worker.js`,
} as const;
