/** A directory as the files of an OCI layout: files appear whole, under a lock where several have to agree. */
import { open, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SinkError } from "../../errors/index.ts";
import type { LayoutFiles, PendingFile } from "../../ops/registry/index.ts";
import { writeFailure } from "../errors.ts";
import { makeDirectories, openFile } from "../files.ts";
import { removeLeftovers } from "../leftovers.ts";
import { makerOf, newMark } from "../process-mark.ts";
import { createPendingFile } from "./pending-file.ts";

const LOCK_FILE = ".ashlar-lock";
/** Milliseconds to wait for others; what is done under the lock takes a few. */
const MAX_WAIT = 30_000;
const WAIT_STEP = 20;

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
    const path = join(directory, LOCK_FILE);
    await makeDirectories(directory).catch((error: unknown) => {
      throw writeFailure(directory, error);
    });
    await takeLock(path);
    try {
      return await work();
    } finally {
      await rm(path, { force: true });
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

/** Waits for its turn. A lock whose maker has ended is void. */
async function takeLock(path: string): Promise<void> {
  for (let waited = 0; ; waited += WAIT_STEP) {
    try {
      const handle = await open(path, "wx", 0o600);
      await handle.writeFile(newMark());
      await handle.close();
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw writeFailure(dirname(path), error);
    }
    const holder = await readFile(path, "utf8").catch(() => "");
    if (holder !== "" && makerOf(holder) === "ended") await rm(path, { force: true });
    else if (waited >= MAX_WAIT)
      throw new SinkError("locked", `${path}: somebody else is writing; where nobody is, remove this file`, { path });
    await sleep(WAIT_STEP);
  }
}
