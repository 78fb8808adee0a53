/** A directory as the files of an OCI layout: files appear whole, under a lock where several have to agree. */
import { type FileHandle, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LayoutFiles, PendingFile } from "../../ops/registry/index.ts";
import { writeFailure } from "../errors.ts";
import { makeDirectories, openFile } from "../files.ts";
import { removeLeftovers } from "../leftovers.ts";
import { lockDirectory } from "../lock.ts";
import { createPendingFile } from "./pending-file.ts";

/** The directory is made when something is first stored. */
export function openLayoutFiles(directory: string): LayoutFiles {
  let queue: Promise<unknown> = Promise.resolve();
  const tidied = new Set<string>();

  async function create(path: string): Promise<PendingFile> {
    const target = join(directory, path);
    const folder = dirname(target);
    if (!tidied.has(folder)) await removeLeftovers(folder).catch(() => undefined); // it need not be there yet
    tidied.add(folder);
    return createPendingFile(target);
  }

  async function locked<T>(work: () => Promise<T>): Promise<T> {
    let lock: FileHandle;
    try {
      await makeDirectories(directory);
      lock = await lockDirectory(directory);
    } catch (error) {
      throw writeFailure(directory, error);
    }
    try {
      return await work();
    } finally {
      await lock.close();
    }
  }

  return {
    open: (path) => openFile(join(directory, path)),
    async sizeOf(path) {
      const found = await stat(join(directory, path)).catch(() => undefined);
      return found?.isFile() ? found.size : undefined;
    },
    create,
    exclusively(work) {
      const turn = queue.then(() => locked(work));
      queue = turn.catch(() => undefined);
      return turn;
    },
    close: async () => {},
  };
}
