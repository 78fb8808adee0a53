/** Names of what is not finished yet, and the removal of what runs that were killed have left under them. */
import type { Stats } from "node:fs";
import { lstat, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { makerOf, newMark } from "./process-mark.ts";

const PREFIX = ".ashlar-partial-";
/** Milliseconds after which a leftover is removed though nobody can say whether its maker still runs: no build takes a day. */
const MAX_AGE = 24 * 60 * 60 * 1000;

/** A name for something that this process is making, another one each time. */
export function newPartialName(): string {
  return PREFIX + newMark();
}

/** Whether a file is this user's under no other name: nobody else can change it then while it is used. */
function isOurs({ uid, nlink }: Stats): boolean {
  return nlink === 1 && (process.getuid === undefined || uid === process.getuid());
}

/**
 * Moves the file `name` that a run of this machine that has ended has left in `directory` to `path`; of several the one that
 * takes the most space. False where there is none that is this user's alone.
 */
export async function claimLeftover(directory: string, name: string, path: string): Promise<boolean> {
  const found: { readonly from: string; readonly blocks: number }[] = [];
  for (const entry of await readdir(directory)) {
    if (!entry.startsWith(PREFIX) || makerOf(entry.slice(PREFIX.length)) !== "ended") continue;
    const from = join(directory, entry, name);
    const stat = await lstat(from).catch(() => undefined);
    if (stat?.isFile() === true && isOurs(stat)) found.push({ from, blocks: stat.blocks });
  }
  for (const { from } of found.sort((a, b) => b.blocks - a.blocks))
    try {
      await rename(from, path);
      return true;
    } catch {
      // another run was faster
    }
  return false;
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
