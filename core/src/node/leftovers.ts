/** Names of what is not finished yet, and the removal of what runs that were killed have left under them. */
import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { makerOf, newMark } from "./process-mark.ts";

const PREFIX = ".ashlar-partial-";
/** Milliseconds after which a leftover is removed though nobody can say whether its maker still runs: no build takes a day. */
const MAX_AGE = 24 * 60 * 60 * 1000;

/** A name for something that this process is making, another one each time. */
export function newPartialName(): string {
  return PREFIX + newMark();
}

/** Removes what runs that were killed have left in `directory`. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(directory, name);
    const maker = makerOf(name.slice(PREFIX.length));
    const age = Date.now() - ((await lstat(path).catch(() => undefined))?.mtimeMs ?? 0);
    if (maker === "ended" || (maker === "unknown" && age > MAX_AGE)) await rm(path, { recursive: true, force: true });
  }
}
