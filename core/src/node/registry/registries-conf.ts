/** The files of registries.conf on this machine, in their order. */
import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { mergeRules, parseRegistriesConf, type RegistryRule } from "../../ops/registry/index.ts";
import { readFailure } from "../errors.ts";
import { readSmallFile } from "./credentials.ts";

/** Files of one folder. */
const MAX_FILES = 1000;

/** Errors: those of the files; a file that cannot be read is not as good as none: it may block something. */
export async function readRegistriesConf(environment: NodeJS.ProcessEnv): Promise<RegistryRule[]> {
  const config = join(
    environment["XDG_CONFIG_HOME"] || join(environment["HOME"] || homedir(), ".config"),
    "containers",
  );
  const system = "/etc/containers";
  const only = environment["CONTAINERS_REGISTRIES_CONF"] || environment["REGISTRIES_CONFIG_PATH"];
  const main = only ? [only] : [join(config, "registries.conf"), join(system, "registries.conf")];
  const files: RegistryRule[][] = [];
  for (const path of main) {
    const bytes = await readSmallFile(path, only !== undefined);
    if (bytes === undefined) continue;
    files.push(parseRegistriesConf(bytes, path));
    break; // the user's own stands in place of the system's
  }
  if (only === undefined || only === "")
    for (const folder of [join(system, "registries.conf.d"), join(config, "registries.conf.d")])
      for (const name of await namesIn(folder)) {
        const path = join(folder, name);
        files.push(parseRegistriesConf((await readSmallFile(path, true)) ?? new Uint8Array(0), path));
      }
  return mergeRules(files);
}

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw readFailure(folder, error);
  });
  return names
    .filter((name) => name.endsWith(".conf"))
    .sort()
    .slice(0, MAX_FILES);
}
