/** Artifacts in a directory: written in a hidden one beside their final place, flushed, then renamed. */
import { type FileHandle, lstat, mkdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SinkError } from "../errors/index.ts";
import type { ResumableStore } from "../ops/artifacts.ts";
import { writeFailure } from "./errors.ts";
import { createFile, makeDirectories, type OutputFile, reopenFile } from "./files.ts";
import { claimLeftover, newPartialName, removeLeftovers } from "./leftovers.ts";
import { lockDirectory } from "./lock.ts";

export interface ArtifactOptions {
  /** Replace artifacts that are there already. */
  readonly overwrite: boolean;
  /** Keep what runs that broke off have left until `publish` or `discard`, for `resume`; default false. */
  readonly resume?: boolean;
}

/** Opens `directory` (made where missing, until `discard`) for results; leftovers of runs that were killed are removed. */
export async function openArtifacts(
  directory: string,
  { overwrite, resume = false }: ArtifactOptions,
): Promise<ResumableStore> {
  const partial = join(directory, newPartialName());
  let made: string | undefined;
  try {
    made = await makeDirectories(directory);
    if (!resume) await removeLeftovers(directory);
    await mkdir(partial, { mode: 0o700 });
  } catch (error) {
    throw writeFailure(directory, error);
  }
  const files = new Map<string, OutputFile>();
  let isSuspended = false;

  async function refuseExisting(name: string): Promise<void> {
    const path = join(directory, name);
    const there = await lstat(path).catch(() => undefined);
    if (there === undefined) return;
    if (!overwrite) throw new SinkError("exists", `${path}: exists already`, { path });
    if (there.isDirectory()) throw new SinkError("is-a-directory", `${path}: is a directory`, { path });
  }

  async function closeAll(): Promise<void> {
    for (const file of files.values()) await file.close().catch(() => undefined);
    files.clear();
  }

  async function discard(): Promise<void> {
    if (isSuspended) return;
    await closeAll();
    await rm(partial, { recursive: true, force: true });
    if (made !== undefined) await removeEmpty(directory, made);
  }

  return {
    async create(name) {
      await refuseExisting(name);
      const file = await createFile(join(partial, name));
      files.set(name, file);
      return file;
    },
    async resume(name) {
      await refuseExisting(name);
      const path = join(partial, name);
      const claimed = resume && (await claimLeftover(directory, name, path));
      const { file, size } = claimed ? await reopenFile(path) : { file: await createFile(path), size: 0 };
      files.set(name, file);
      return { artifact: file, left: size > 0 ? file.source(size) : undefined };
    },
    async suspend() {
      let blocks = 0;
      for (const name of files.keys()) blocks += (await lstat(join(partial, name)).catch(() => undefined))?.blocks ?? 0;
      if (blocks === 0) return false;
      await closeAll();
      isSuspended = true;
      return true;
    },
    async publish() {
      for (const name of files.keys()) await refuseExisting(name);
      for (const file of files.values()) await file.sync();
      for (const file of files.values()) await file.close(); // some file systems only now say what went wrong
      const named: string[] = [];
      let lock: FileHandle | undefined;
      try {
        lock = await lockDirectory(directory);
        for (const name of files.keys()) await refuseExisting(name); // another run may have published meanwhile
        const last = [...files.keys()].at(-1); // of what is replaced, the sign of completeness goes first
        if (overwrite && last !== undefined) await rm(join(directory, last), { force: true });
        for (const name of files.keys()) {
          await rename(join(partial, name), join(directory, name));
          named.push(join(directory, name));
        }
        await rmdir(partial);
        if (resume) await removeLeftovers(directory);
        await lock.sync();
        await lock.close();
      } catch (error) {
        // The sign of completeness goes first here too.
        for (const path of named.reverse()) await rm(path, { force: true }).catch(() => undefined);
        await lock?.close().catch(() => undefined);
        throw writeFailure(directory, error);
      }
      files.clear();
      made = undefined; // it has something now
    },
    discard,
  };
}

/** Takes back what {@link makeDirectories} made, unless somebody has put something there meanwhile. */
async function removeEmpty(directory: string, made: string): Promise<void> {
  for (let path = directory; ; path = dirname(path)) {
    try {
      await rmdir(path);
    } catch {
      return;
    }
    if (path === made) return;
  }
}
