/**
 * Which entries have to be renamed so that systemd-boot starts the wanted one, and the running one again when the tries of
 * that are used. Pure. Nothing pins an entry: a pinned one would be started even after it went bad.
 */
import { PolicyError } from "../../errors/index.ts";
import {
  type BootCounter,
  type BootEntry,
  chosenEntry,
  compareEntries,
  formatEntryName,
  type OrderedEntry,
} from "./boot-entries.ts";

type Ordered = OrderedEntry & Pick<BootEntry, "stem">;
type Other = Ordered & Pick<BootEntry, "rootHash">;

export interface EntryRename {
  readonly from: string;
  readonly to: string;
}

export interface EntryOrder {
  /** Before the wanted entry is there: entries of the running release that were set back become good again. */
  readonly before: readonly EntryRename[];
  /** Once it is there: entries of the running release that would be started instead are set back. */
  readonly after: readonly EntryRename[];
}

/** An entry was set back by us, and not by failing. */
const SET_BACK: BootCounter = { left: 0, done: 0 };

export function isSetBack({ counter }: Pick<BootEntry, "counter">): boolean {
  return counter?.left === SET_BACK.left && counter.done === SET_BACK.done;
}

function withCounter<E extends Ordered>(entry: E, counter: BootCounter | undefined): E {
  return { ...entry, counter, name: formatEntryName({ stem: entry.stem, counter }) };
}

/**
 * An entry that sorts before the wanted one is set back: it gets no tries left (`+0`), which puts it behind. When the wanted one
 * has none left either both are bad, and the order between them is the old one: the running release is started. An
 * entry that sorts behind needs nothing, and must not be set back, or a bad wanted one would come before it.
 *
 * Throws PolicyError `entry-order` where an entry that is not of the running release would be started, now or afterwards.
 * @param wanted as it will be, with its tries
 * @param others all entries but the wanted one, none of which boots the slot it is for
 */
export function planEntryOrder(
  wanted: Ordered,
  others: readonly Other[],
  isRunning: (entry: Other) => boolean,
): EntryOrder {
  const before: EntryRename[] = [];
  const after: EntryRename[] = [];
  const arranged = others.map((entry): Other => {
    if (!isRunning(entry)) return entry;
    const good = isSetBack(entry) ? withCounter(entry, undefined) : entry;
    if (compareEntries(good, wanted) > 0) {
      if (good.name !== entry.name) before.push({ from: entry.name, to: good.name });
      return good;
    }
    const behind = withCounter(entry, SET_BACK);
    if (behind.name !== entry.name) after.push({ from: entry.name, to: behind.name });
    return behind;
  });
  const started = chosenEntry([wanted, ...arranged]);
  const exhausted = withCounter(wanted, { left: 0, done: Math.max(1, wanted.counter?.left ?? 1) });
  const fallback = chosenEntry([exhausted, ...arranged]);
  const wrong = started?.name !== wanted.name ? started : fallback;
  const isSafe = arranged.some((entry) => entry.name === fallback?.name && isRunning(entry));
  if (started?.name !== wanted.name || !isSafe) throw outOfOrder(wanted, wrong);
  return { before, after };
}

/**
 * The same where the wanted entry is what runs, and is known to be good: what was staged since is set back, and needs no
 * way back. Throws PolicyError `entry-order`.
 */
export function planReturn(wanted: Ordered, others: readonly Other[], isStaged: (entry: Other) => boolean): EntryOrder {
  const after: EntryRename[] = [];
  for (const entry of others) {
    if (compareEntries(entry, wanted) > 0) continue;
    if (!isStaged(entry) && entry.rootHash === undefined) throw outOfOrder(wanted, entry);
    after.push({ from: entry.name, to: withCounter(entry, SET_BACK).name });
  }
  return { before: [], after };
}

function outOfOrder(wanted: Ordered, wrong: Ordered | undefined): PolicyError {
  return new PolicyError(
    "entry-order",
    `the boot loader would start ${wrong?.name ?? "nothing"}, which is not of this system's releases`,
    { expected: wanted.name, actual: wrong?.name },
  );
}
