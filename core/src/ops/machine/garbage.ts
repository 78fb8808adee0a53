/** `gc`: what belongs to no release that is on the disk. */
import { ENTRY_FOLDER, removeEntries } from "../update/index.ts";
import { obsoleteGenerations } from "./etc.ts";
import type { MachineHost } from "./host.ts";
import { withRun } from "./run.ts";
import { runningEntry } from "./view.ts";

export interface Garbage {
  /** Files of the ESP, with their folder. */
  readonly esp: readonly string[];
  /** Generations of /etc, by root hash. */
  readonly etc: readonly string[];
  /** Digests of roots that are gone. */
  readonly recipes: readonly string[];
}

/** As `stageRelease` calls a UKI that is not complete. */
const TEMPORARY = /^ashlar-[0-9a-f]{16}\.new$/i;

/**
 * Removes entries of this product that start no root of a slot, UKIs that were never finished, and what is kept for roots that
 * are gone. What is staged, held, running, or another system's stays.
 */
export function collectGarbage(host: MachineHost, { dryRun = false } = {}): Promise<Garbage> {
  return withRun(host, "gc", async (run) => {
    const { esp, view, facts, slots } = run;
    const roots = new Set([facts.root?.rootHash, ...slots.slots.map(({ rootHash }) => rootHash)]);
    const current = runningEntry(view);
    const { pending } = run.record();
    const isHeld = pending?.state === "downloaded"; // its UKI has a temporary name until it is staged
    const files: string[] = [];
    // To remove one of two names of a file would take the content from the other.
    if (esp !== undefined && esp.unmended.length === 0) {
      for (const entry of view.entries)
        if (
          entry !== current &&
          entry.product === facts.imageId &&
          entry.rootHash !== undefined &&
          !roots.has(entry.rootHash)
        )
          files.push(entry.file);
      for (const { file, rootHash } of view.heldBack)
        if (rootHash === undefined || !roots.has(rootHash)) files.push(file);
      for (const { name } of isHeld ? [] : await esp.list(ENTRY_FOLDER)) if (TEMPORARY.test(name)) files.push(name);
    }
    const store = await host.generations();
    const etc = store === undefined ? [] : await obsoleteGenerations(run, store);
    const recipes = (await host.recipes.list()).filter((name) => !roots.has(name));
    const garbage = { esp: files.map((name) => `${ENTRY_FOLDER}/${name}`), etc, recipes };
    if (dryRun) return garbage;
    const entries = view.entries.map(({ file }) => ({ name: file }));
    if (esp !== undefined) await removeEntries(esp, files, entries);
    for (const name of etc) await store?.remove(name);
    for (const name of recipes) await host.recipes.remove(name);
    return garbage;
  });
}
