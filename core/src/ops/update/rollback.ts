/** Starts a release that is there: the other slot's, or again the one that runs, whatever was staged since. */
import { PolicyError } from "../../errors/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { type BootEntry, chosenEntry, formatEntryName, isLostName, readBootEntries } from "./boot-entries.ts";
import { type EntryOrder, isSetBack, planEntryOrder, planReturn } from "./entry-order.ts";
import type { Machine } from "./machine.ts";
import { readSlots, runningSlot } from "./slots.ts";
import { renameEntries } from "./stage-entry.ts";

const DEFAULT_TRIES = 3;

export interface RolledBack {
  /** File name of the entry that is started next. */
  readonly entry: string;
  readonly rootHash: string;
  readonly version: string;
}

/**
 * The boot loader starts the release of `rootHash` next, with tries where it does not run; default: that of the other slot. Of
 * several entries that start it `entry` names the one that is meant. The one that runs is started again where it fails. Nothing but names of entries changes. Once the release is confirmed it
 * stays: the other is behind it in the order until it is staged anew.
 *
 * Throws PolicyError `no-such-release` for a root that no slot and no entry has, `not-this-disk`, `entry-order`; what the
 * ports throw.
 */
export async function rollbackTo(
  machine: Machine,
  options: ReadOptions & {
    readonly rootHash?: string | undefined;
    readonly entry?: string | undefined;
    readonly tries?: number | undefined;
  } = {},
): Promise<RolledBack> {
  const { device, esp, architecture, running } = machine;
  const { inactive } = runningSlot(await readSlots(device, architecture, options), running);
  const rootHash = options.rootHash ?? inactive.rootHash;
  const found = await readBootEntries(esp, options);
  const { entries, guarded } = found;
  const isTarget = (entry: BootEntry) => entry.rootHash === rootHash;
  // What a broken run was renaming is whole, and nothing but its name may be lost.
  const target =
    entries.find((entry) => isTarget(entry) && entry.name === options.entry) ??
    newest(entries.filter(isTarget)) ??
    newest(guarded.flatMap(({ entry }) => entry ?? []).filter(isTarget));
  if (rootHash === undefined || target === undefined || (rootHash !== running && rootHash !== inactive.rootHash))
    throw new PolicyError("no-such-release", "there is no other release on the disk that could be started", {
      expected: rootHash,
    });
  const isKnown = rootHash === running && (target.counter === undefined || isSetBack(target));
  const counter = isKnown ? undefined : { left: options.tries ?? DEFAULT_TRIES, done: 0 };
  const stem = isLostName(target) ? `${target.sortKey}_${target.version}` : target.stem;
  const wanted = { ...target, stem, counter, name: formatEntryName({ stem, counter }) };
  const others = entries.filter(({ name }) => name !== target.name);
  const order: EntryOrder = isKnown
    ? planReturn(wanted, others, (entry) => entry.rootHash === inactive.rootHash)
    : planEntryOrder(wanted, others, (entry) => entry.rootHash === running);
  const isNamed = target.name === wanted.name && entries.includes(target);
  const own = isNamed ? [] : [{ from: target.name, to: wanted.name }];
  await renameEntries(esp, [...order.before, ...own, ...order.after], found, running);
  return { entry: wanted.name, rootHash, version: target.version };
}

/** Of several UKIs for one root the one that would be started, whatever their counters. */
function newest(entries: readonly BootEntry[]): BootEntry | undefined {
  const uncounted = entries.map((entry) => ({ ...entry, counter: undefined, of: entry }));
  return chosenEntry(uncounted)?.of;
}
