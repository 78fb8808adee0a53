// The single executable, made once from the sources as they are.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, REPOSITORY } from "./roots.ts";

/** Others that were made from other sources; a checkout that is worked on would fill the disk with them. */
const KEPT = 3;

/** What goes into it; packages and Node count through the lock files. */
async function digestOfSources(): Promise<string> {
  const hash = createHash("sha256").update(process.version);
  const listed = spawnSync(
    "git",
    ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "core", "cli", "agent"],
    {
      cwd: REPOSITORY,
      encoding: "utf8",
      maxBuffer: 16 * 1024 * 1024,
    },
  );
  if (listed.status !== 0) throw new Error(`git ls-files: ${listed.stderr}`);
  for (const path of ["package-lock.json", ...listed.stdout.split("\0").filter((name) => /\.(ts|json)$/.test(name))])
    if (existsSync(join(REPOSITORY, path))) hash.update(`${path}\0`).update(await readFile(join(REPOSITORY, path)));
  return hash.digest("hex").slice(0, 16);
}

/** Path of the executable; it takes a second where the sources are new. */
export async function agentExecutable(): Promise<string> {
  const folder = join(cacheDirectory(), "agents");
  const path = join(folder, `ashlar-${await digestOfSources()}`);
  if (existsSync(path)) return path;
  await mkdir(folder, { recursive: true });
  const { buildExecutable } = await import("../../agent/build/executable.ts");
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, await buildExecutable(), { mode: 0o755 });
  await rename(temporary, path);
  await forgetOld(folder);
  return path;
}

async function forgetOld(folder: string): Promise<void> {
  const made = (await readdir(folder))
    .filter((name) => /^ashlar-[0-9a-f]+$/.test(name))
    .map((name) => join(folder, name));
  const times = new Map<string, number>();
  for (const path of made) times.set(path, (await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
  const oldest = made.sort((a, b) => times.get(b)! - times.get(a)!).slice(KEPT);
  for (const path of oldest) await rm(path, { force: true });
}
