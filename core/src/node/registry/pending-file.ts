/** A file that gets its name when it is whole. */
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { PendingFile } from "../../ops/registry/index.ts";
import { writeFailure } from "../errors.ts";
import { makeDirectories } from "../files.ts";
import { newPartialName } from "../leftovers.ts";

export interface PendingOptions {
  /** Permissions; default 0666 less the umask. */
  readonly mode?: number | undefined;
  /** Of folders that have to be made. */
  readonly folderMode?: number | undefined;
  /** Whether it is on the disk before it gets its name; default true. */
  readonly flush?: boolean | undefined;
}

/** Folders are made where missing. */
export async function createPendingFile(path: string, options: PendingOptions = {}): Promise<PendingFile> {
  const folder = dirname(path);
  const partial = join(folder, newPartialName());
  const attempt = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw writeFailure(path, error);
    }
  };
  const handle = await attempt(async () => {
    if (options.folderMode === undefined) await makeDirectories(folder);
    else await mkdir(folder, { recursive: true, mode: options.folderMode });
    return open(partial, "wx", options.mode ?? 0o666);
  });
  let isOpen = true;
  let isNamed = false;
  return {
    write: (bytes) =>
      attempt(async () => {
        for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
      }),
    publish: () =>
      attempt(async () => {
        if (options.flush !== false) await handle.sync();
        isOpen = false;
        await handle.close();
        await rename(partial, path);
        isNamed = true;
      }),
    async discard() {
      if (isOpen) await handle.close().catch(() => undefined);
      isOpen = false;
      if (!isNamed) await rm(partial, { force: true });
    },
  };
}
