/** The `ashlar` command as one file that needs no Node: Node's own program, the bundled command and its assets. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { bundleCommand } from "./bundle.ts";
import { injectBlob } from "./inject.ts";

const run = promisify(execFile);

/** What koffi calls the machines for which there is a Node to copy. */
const MACHINES: Readonly<Record<string, string>> = { x64: "linux_x64", arm64: "linux_arm64" };

/** Has Node compile the script and write it with the assets into the blob that it looks for in itself. */
async function makeBlob(node: string, machine: string): Promise<Uint8Array> {
  const { script, assets } = await bundleCommand(machine);
  const folder = await mkdtemp(join(tmpdir(), "ashlar-agent-"));
  try {
    const config = {
      main: "ashlar.js", // names without a folder: they are in the blob
      output: "blob",
      disableExperimentalSEAWarning: true,
      useCodeCache: true, // starting takes half as long
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
    await run(node, args, { cwd: folder, env: {} });
    return await readFile(join(folder, config.output));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** For the machine and with the Node that this runs on; the same sources, packages and Node give the same bytes. */
export async function buildExecutable(): Promise<Uint8Array> {
  const machine = process.platform === "linux" ? MACHINES[process.arch] : undefined;
  if (machine === undefined) throw new Error(`no single executable for ${process.platform}-${process.arch}`);
  return injectBlob(await readFile(process.execPath), await makeBlob(process.execPath, machine));
}
