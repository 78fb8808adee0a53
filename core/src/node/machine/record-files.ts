/** Records as files in a directory: readable by all, written aside, flushed and renamed. */
import { open, readdir, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { isAshlarError } from "../../errors/index.ts";
import type { RecordStore } from "../../ops/machine/index.ts";
import { readAll } from "../../source/index.ts";
import { readFailure, writeFailure } from "../errors.ts";
import { makeDirectories, openFile } from "../files.ts";
import { newPartialName, removeLeftovers } from "../leftovers.ts";

/** Bytes of a record, unless a store is for larger ones. */
const MAX_RECORD_SIZE = 4 * 1024 * 1024;

/** Renames in `directory` last from here on. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function recordFiles(directory: string, maxSize = MAX_RECORD_SIZE): RecordStore {
  return {
    async read(name) {
      const path = join(directory, name);
      try {
        await using file = await openFile(path, { followLink: false });
        return Uint8Array.from(await readAll(file, maxSize, path));
      } catch (error) {
        if (isAshlarError(error) && error.code === "not-found") return undefined;
        throw error;
      }
    },
    async write(name, bytes) {
      const path = join(directory, name);
      try {
        await makeDirectories(directory);
        await removeLeftovers(directory);
        const aside = join(directory, newPartialName());
        const handle = await open(aside, "wx", 0o644);
        try {
          await handle.writeFile(bytes);
          await handle.sync();
        } finally {
          await handle.close();
        }
        await rename(aside, path);
        await syncDirectory(directory);
      } catch (error) {
        throw writeFailure(path, error);
      }
    },
    async list() {
      try {
        return (await readdir(directory)).filter((name) => !name.startsWith("."));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw readFailure(directory, error);
      }
    },
    async remove(name) {
      const path = join(directory, name);
      try {
        await unlink(path);
        await syncDirectory(directory);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw writeFailure(path, error);
      }
    },
    async setAside(name) {
      const path = join(directory, name);
      try {
        await rename(path, `${path}.bad`);
        await syncDirectory(directory);
      } catch (error) {
        throw writeFailure(path, error);
      }
    },
  };
}
