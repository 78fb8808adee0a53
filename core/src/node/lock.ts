/** One at a time in a directory, among all processes of the machine. */
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { SinkError } from "../errors/index.ts";
import { loadTakeLock } from "./native.ts";

/** Milliseconds between two looks at whether another run has done, and how many looks there are: a minute of them. */
const PAUSE = 20;
const TRIES = 3000;

/**
 * Waits until nobody else holds the directory; closing the handle gives it back, and so does any way of dying. Where the
 * machine has no such locks, the caller's checks have to do. Throws SinkError `busy`; errors of the system pass.
 */
export async function lockDirectory(path: string): Promise<FileHandle> {
  const handle = await open(path, "r");
  const takeLock = loadTakeLock();
  for (let tries = 0; takeLock?.(handle.fd) === false; tries++) {
    if (tries === TRIES) {
      await handle.close();
      throw new SinkError("busy", `${path}: another run has been writing there for a minute`, { path });
    }
    await sleep(PAUSE);
  }
  return handle;
}
