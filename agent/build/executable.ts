/** The `ashlar` command as one file that needs no Node: Node's own program, the bundled command and its assets. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { bundleCommand } from "./bundle.ts";
import { injectBlob } from "./inject.ts";
import { type TargetMachine, targetMachine } from "./machine.ts";

const run = promisify(execFile);

/** Has Node compile the script and write it with the assets into the blob that it looks for in itself. */
async function makeBlob({ koffi, isThis }: TargetMachine): Promise<Uint8Array> {
  const { script, assets } = await bundleCommand(koffi);
  const folder = await mkdtemp(join(tmpdir(), "ashlar-agent-"));
  try {
    const config = {
      main: "ashlar.js", // names without a folder: they are in the blob
      output: "blob",
      disableExperimentalSEAWarning: true,
      useCodeCache: isThis, // starting takes half as long; code is for the machine that it was compiled on
      // A sixth less memory during an update, and no more time (bench/update.ts). Flags that change how V8 compiles, such as
      // --optimize-for-size, would have it refuse the code cache.
      execArgv: ["--max-semi-space-size=1"],
      execArgvExtension: "none", // the environment of a machine says nothing to its agent's Node
      assets: Object.fromEntries([...assets.keys()].map((name) => [name, name])),
    };
    await writeFile(join(folder, config.main), script);
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    for (const [name, content] of assets) await writeFile(join(folder, name), content);
    // V8 hashes with a random seed, which shows in the order of what it compiled. (--hash-seed would make it refuse the
    // code cache when it starts.)
    const args = ["--random-seed=1", "--experimental-sea-config", "config.json"];
    await run(process.execPath, args, { cwd: folder, env: {} });
    return await readFile(join(folder, config.output));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The same sources, packages and Node give the same bytes.
 * @param architecture as systemd calls it; default: this machine's
 */
export async function buildExecutable(architecture?: string): Promise<Uint8Array> {
  const machine = await targetMachine(architecture);
  return injectBlob(await readFile(machine.node), await makeBlob(machine));
}
