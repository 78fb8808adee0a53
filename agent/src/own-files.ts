/** Stands in for `core/src/node/own-files.ts` in the single executable, where these files are assets. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getAsset, getRawAsset } from "node:sea";
import { ASSETS } from "./assets.ts";

type OwnFiles = typeof import("../../core/src/node/own-files.ts");

export const workerUrl: OwnFiles["workerUrl"] = (name) =>
  new URL(`data:text/javascript,${encodeURIComponent(getAsset(ASSETS.worker(name), "utf8"))}`);

/** A module of native code is loaded from a file, which lives as long as that takes. */
export const loadKoffi: OwnFiles["loadKoffi"] = () => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-"));
  try {
    const file = join(folder, "koffi.node");
    writeFileSync(file, new Uint8Array(getRawAsset(ASSETS.koffi)), { mode: 0o700 });
    const loaded = { exports: {} };
    process.dlopen(loaded, file);
    return loaded.exports as ReturnType<OwnFiles["loadKoffi"]>;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
