/**
 * Generations of /etc as directories on /var. The overlay of the running one is mounted: its layer is read here and never
 * written. A generation appears under its name, or changes places with the one that has it, when it is whole and on the disk.
 */
import { mkdir, open, readdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isAshlarError, SinkError, SourceError, UnsupportedError } from "../../errors/index.ts";
import type { GenerationStore } from "../../ops/etc/index.ts";
import { readAll } from "../../source/index.ts";
import { readFailure, writeFailure } from "../errors.ts";
import { extractTree } from "../extract.ts";
import { makeDirectories, openFile } from "../files.ts";
import { readHostTree } from "../host-tree.ts";
import { lockDirectory } from "../lock.ts";
import { loadExchangeNames, loadSyncFileSystem } from "../native.ts";

export const GENERATIONS = "/var/lib/ashlar/etc";

const UPPER = "upper";
const WORK = "work";
/** Hidden from the initrd, which takes every other name for a generation; what was under way when power went is removed. */
const ASIDE = ".carry";
/** Bytes of a file beside the layer. */
const MAX_FILE_SIZE = 4 * 1024 * 1024;

const isGeneration = (name: string) => /^[0-9a-f]{64}$/.test(name);

function assertGeneration(name: string): void {
  if (!isGeneration(name)) throw new RangeError(`${name} names no generation`);
}

/** For root: only it may see the attributes in which overlayfs keeps what a directory hides. */
export function openGenerations(directory: string = GENERATIONS): GenerationStore {
  const placeOf = (rootHash: string) => {
    assertGeneration(rootHash);
    return join(directory, rootHash);
  };

  async function alone<T>(action: () => Promise<T>): Promise<T> {
    await makeDirectories(directory);
    const lock = await lockDirectory(directory);
    try {
      return await action();
    } finally {
      await lock.close();
    }
  }

  return {
    async list() {
      try {
        return (await readdir(directory)).filter(isGeneration).sort();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw readFailure(directory, error);
      }
    },
    readUpper: (rootHash) =>
      readHostTree(join(placeOf(rootHash), UPPER), {
        onNote(code, message) {
          throw new SourceError(code, message); // a layer without its attributes would show what is hidden
        },
      }),
    async readFile(rootHash, name) {
      const path = join(placeOf(rootHash), name);
      try {
        await using file = await openFile(path, { followLink: false });
        return Uint8Array.from(await readAll(file, MAX_FILE_SIZE, path));
      } catch (error) {
        if (isAshlarError(error) && error.code === "not-found") return undefined;
        throw error;
      }
    },
    async put(rootHash, upper, files) {
      const place = placeOf(rootHash);
      const aside = join(directory, ASIDE);
      try {
        await alone(async () => {
          await rm(aside, { recursive: true, force: true });
          try {
            await mkdir(aside, { mode: 0o700 });
            const { notes } = await extractTree(upper, join(aside, UPPER), { privileged: true });
            const [lost] = notes;
            if (lost !== undefined) throw new SinkError("not-restored", `${aside}: ${lost.message}`, { path: aside });
            await mkdir(join(aside, WORK), { mode: 0o700 });
            for (const [name, bytes] of Object.entries(files)) await writeFile(join(aside, name), bytes);
            await syncFileSystem(aside);
            await nameIt(aside, place);
            await syncFileSystem(directory);
          } finally {
            await rm(aside, { recursive: true, force: true }); // what is here now is the old one, or a broken new one
          }
        });
      } catch (error) {
        throw writeFailure(place, error);
      }
    },
    async free() {
      try {
        await makeDirectories(directory);
        const { bavail, bsize } = await statfs(directory);
        return bavail * bsize;
      } catch (error) {
        throw readFailure(directory, error);
      }
    },
    async remove(rootHash) {
      const place = placeOf(rootHash);
      const aside = join(directory, ASIDE);
      try {
        await alone(async () => {
          await rm(aside, { recursive: true, force: true });
          // Not half of it under its name, which would be taken for a whole one.
          const isThere = await rename(place, aside).then(
            () => true,
            (error: NodeJS.ErrnoException) => {
              if (error.code === "ENOENT") return false;
              throw error;
            },
          );
          if (!isThere) return;
          await syncFileSystem(directory);
          await rm(aside, { recursive: true, force: true });
        });
      } catch (error) {
        throw writeFailure(place, error);
      }
    },
  };
}

/** Errors of rename(2) onto a directory that is not empty. */
const IS_THERE = ["ENOTEMPTY", "EEXIST"];

/** In one step: with two there would be a moment without a generation, in which the initrd would begin a bare one. */
async function nameIt(aside: string, place: string): Promise<void> {
  try {
    await rename(aside, place);
  } catch (error) {
    if (!IS_THERE.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    const errno = loadExchangeNames()?.(Buffer.from(aside), Buffer.from(place));
    if (errno !== 0)
      throw new UnsupportedError(
        "no-exchange",
        `${place}: cannot be replaced in one step here${errno === undefined ? "" : ` (errno ${errno})`}`,
        { path: place },
      );
  }
}

async function syncFileSystem(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    const errno = loadSyncFileSystem()?.(handle.fd);
    if (errno !== 0)
      throw new SinkError("io-error", `${path}: was not flushed${errno === undefined ? "" : ` (errno ${errno})`}`, {
        path,
      });
  } finally {
    await handle.close();
  }
}
