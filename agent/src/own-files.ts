/** Stands in for `core/src/node/own-files.ts` in the single executable, where these files are assets. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getAsset, getRawAsset } from "node:sea";
import { ASSETS } from "./assets.ts";

type OwnFiles = typeof import("../../core/src/node/own-files.ts");

export const workerUrl: OwnFiles["workerUrl"] = (name) =>
  new URL(`data:text/javascript,${encodeURIComponent(getAsset(ASSETS.worker(name), "utf8"))}`);

/** The bundler finds the module beside the one that its package exports. */
export const loadZstdModule: OwnFiles["loadZstdModule"] = () => require("@bokuweb/zstd-wasm/module").Module;

type Koffi = ReturnType<OwnFiles["loadKoffi"]>;

/** As `require` keeps its modules: each call would write and map another copy of it. */
const modules: { koffi?: Koffi } = {};

export const loadKoffi: OwnFiles["loadKoffi"] = () => {
  modules.koffi ??= loadFromFile();
  return modules.koffi;
};

/** Where a file can be that code is loaded from: on hardened machines not in /tmp. */
const FOLDERS = (): readonly string[] => [tmpdir(), "/run"];

function loadFromFile(): Koffi {
  let failure: unknown;
  for (const folder of FOLDERS())
    try {
      return loadFrom(folder);
    } catch (error) {
      failure ??= error;
    }
  throw failure;
}

/** A module of native code is loaded from a file, which lives as long as that takes. */
function loadFrom(place: string): Koffi {
  const folder = mkdtempSync(join(place, "ashlar-"));
  try {
    const file = join(folder, "koffi.node");
    writeFileSync(file, new Uint8Array(getRawAsset(ASSETS.koffi)), { mode: 0o700 });
    const loaded = { exports: {} };
    process.dlopen(loaded, file);
    return loaded.exports as Koffi;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
