/** Artifacts in a directory: written in a hidden one beside their final place, flushed, then renamed. */
import { lstat, mkdir, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { SinkError } from "../errors/index.ts";
import type { ArtifactStore } from "../ops/artifacts.ts";
import { writeFailure } from "./errors.ts";
import { createFile, makeDirectories, type OutputFile } from "./files.ts";

const PARTIAL = /^\.ashlar-partial-(\d+)$/;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // somebody else's process
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  await handle.sync();
  await handle.close();
}

export interface ArtifactOptions {
  /** Replace artifacts that are there already. */
  readonly overwrite: boolean;
}

/** Opens `directory` (made where missing) for results; leftovers of runs that were killed are removed. */
export async function openArtifacts(directory: string, { overwrite }: ArtifactOptions): Promise<ArtifactStore> {
  const partial = join(directory, `.ashlar-partial-${process.pid}`);
  try {
    await makeDirectories(directory);
    for (const name of await readdir(directory)) {
      const pid = PARTIAL.exec(name)?.[1];
      if (pid !== undefined && (Number(pid) === process.pid || !isAlive(Number(pid))))
        await rm(join(directory, name), { recursive: true, force: true });
    }
    await mkdir(partial, { mode: 0o700 });
  } catch (error) {
    throw writeFailure(directory, error);
  }
  const files = new Map<string, OutputFile>();

  async function refuseExisting(name: string): Promise<void> {
    const path = join(directory, name);
    const there = await lstat(path).catch(() => undefined);
    if (there === undefined) return;
    if (!overwrite) throw new SinkError("exists", `${path}: exists already`, { path });
    if (there.isDirectory()) throw new SinkError("is-a-directory", `${path}: is a directory`, { path });
  }

  async function discard(): Promise<void> {
    for (const file of files.values()) await file.close().catch(() => undefined);
    files.clear();
    await rm(partial, { recursive: true, force: true });
  }

  return {
    async create(name) {
      await refuseExisting(name);
      const file = await createFile(join(partial, name));
      files.set(name, file);
      return file;
    },
    async publish() {
      for (const name of files.keys()) await refuseExisting(name);
      for (const file of files.values()) await file.sync();
      try {
        const last = [...files.keys()].at(-1); // of what is replaced, the sign of completeness goes first
        if (overwrite && last !== undefined) await rm(join(directory, last), { force: true });
        for (const [name, file] of files) {
          await file.close();
          await rename(join(partial, name), join(directory, name));
        }
        files.clear();
        await rmdir(partial);
        await syncDirectory(directory);
      } catch (error) {
        throw writeFailure(directory, error);
      }
    },
    discard,
  };
}
