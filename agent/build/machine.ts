/** What of an executable is the machine's: Node's program and koffi's module, this machine's own or another's from the npm registry. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** As systemd calls them → as Node and npm do. */
const MACHINES: Readonly<Record<string, string>> = { "x86-64": "x64", arm64: "arm64" };
const MANIFESTS = join(import.meta.dirname, "../machines");
const CACHE = join(import.meta.dirname, "../../node_modules/.cache/agent");
const fromCore = createRequire(join(import.meta.dirname, "../../core/src/node/index.ts"));

export interface TargetMachine {
  /** Paths. */
  readonly node: string;
  readonly koffi: string;
  /** Whether the Node that runs this can compile for it. */
  readonly isThis: boolean;
}

/**
 * @param architecture as systemd calls it; default: this machine's. For another one npm fetches the Node of the same version, by
 * the digests of agent/machines/package-lock.json; it is kept in node_modules/.cache.
 */
export async function targetMachine(architecture?: string): Promise<TargetMachine> {
  const known = Object.keys(MACHINES).join(" and ");
  const cpu = architecture === undefined ? process.arch : MACHINES[architecture];
  if (process.platform !== "linux" || cpu === undefined || !Object.values(MACHINES).includes(cpu))
    throw new Error(`no single executable for ${architecture ?? `${process.platform}-${cpu}`}: there are ${known}`);
  const koffiPackage = `@koromix/koffi-linux-${cpu}`;
  const koffiIn = (folder: string) => join(folder, `linux_${cpu}`, "koffi.node");
  if (cpu === process.arch)
    return { node: process.execPath, koffi: koffiIn(dirname(fromCore.resolve(koffiPackage))), isThis: true };
  const packages = join(await fetchPackages(cpu), "node_modules");
  const node = join(packages, `node-linux-${cpu}`);
  const { version } = JSON.parse(await readFile(join(node, "package.json"), "utf8")) as { readonly version: string };
  if (version !== process.versions.node)
    throw new Error(`Node ${version} for ${architecture}, and ${process.versions.node} here: both must be the same`);
  return { node: join(node, "bin/node"), koffi: koffiIn(join(packages, koffiPackage)), isThis: false };
}

/** Folder in which npm has put the packages of a machine. */
async function fetchPackages(cpu: string): Promise<string> {
  const lock = createHash("sha256").update(await readFile(join(MANIFESTS, "package-lock.json")));
  const folder = join(CACHE, `${cpu}-${lock.digest("hex").slice(0, 16)}`);
  if (await stat(folder).catch(() => undefined)) return folder;
  await mkdir(CACHE, { recursive: true });
  const temporary = await mkdtemp(join(CACHE, "new-"));
  try {
    for (const name of ["package.json", "package-lock.json"]) await cp(join(MANIFESTS, name), join(temporary, name));
    // An npm that runs under an older Node skips packages that are made for this one.
    const PATH = [dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter);
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--os=linux", `--cpu=${cpu}`];
    await run("npm", ["ci", ...flags], { cwd: temporary, env: { ...process.env, PATH } });
    await rename(temporary, folder).catch(async (error: unknown) => {
      if (!(await stat(folder).catch(() => undefined))) throw error; // else another run was faster
    });
    return folder;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
