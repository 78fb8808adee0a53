/**
 * What became of a release that was staged: told after a reboot from what runs and from the counter in the name of its entry
 * on the ESP, which the boot loader and systemd-bless-boot keep.
 */
import type { MachineFacts } from "./facts.ts";
import type { MachineEvent } from "./history.ts";
import { type AgentRecord, isSameRelease, type KnownRelease, type PendingRelease, withRefused } from "./record.ts";
import { type EntryView, type MachineView, runningEntry } from "./view.ts";

export interface Settled {
  readonly record: AgentRecord;
  readonly events: readonly MachineEvent[];
}

const times = (count: number) => (count === 1 ? "once" : count === 2 ? "twice" : `${count} times`);

/** @param at of now, as RFC 3339 has it */
export function settle(record: AgentRecord, view: MachineView, at: string): Settled {
  const [settled, ...events] = settlePending(record, view, at);
  const found = findFailures(settled, view, at);
  return { record: found.record, events: [...events, ...found.events] };
}

function settlePending(record: AgentRecord, view: MachineView, at: string): [AgentRecord, ...MachineEvent[]] {
  const { pending, ...others } = record;
  // In the boot in which it was staged nothing can have become of it; of an ESP that cannot be read nothing is known.
  if (pending === undefined || view.esp === undefined || pending.bootId === view.facts.bootId) return [record];
  if (pending.state === "downloaded") return [record];
  const entry = entryOf(pending, view);
  const event = (name: string, message: string): MachineEvent => ({
    at,
    event: name,
    message,
    imageVersion: pending.imageVersion,
    rootHash: pending.rootHash,
  });
  if (entry === undefined) {
    if (isHeldBack(pending, view)) return [record];
    const lost = event("lost", `release ${pending.imageVersion} was staged, and its entry is not on the ESP`);
    return [others, lost];
  }
  if (entry.counter === undefined) {
    const accepted = { ...others, refused: others.refused.filter((refused) => !isSameRelease(refused, pending)) };
    return [accepted, event("confirmed", `release ${pending.imageVersion} booted and was found good`)];
  }
  if (entry === runningEntry(view)) {
    if (pending.triedIn === view.facts.bootId) return [record];
    const tried = event("booted", `release ${pending.imageVersion} runs on trial, ${entry.counter.left} tries left`);
    return [{ ...record, pending: { ...pending, entry: entry.stem, triedIn: view.facts.bootId } }, tried];
  }
  return [record]; // not tried yet, not often enough, or bad: that is for all entries alike
}

/** Entries without tries that do not run, whoever staged them: a record may have been lost. */
function findFailures(record: AgentRecord, view: MachineView, at: string): Settled {
  const running = runningEntry(view);
  let next = record;
  const events: MachineEvent[] = [];
  for (const entry of view.entries) {
    // Without a try it was set back by a rollback, or by the staging of a lower version: that is no failure.
    if (!entry.bad || entry === running || entry.rootHash === undefined || entry.counter?.done === 0) continue;
    const { pending } = next;
    const isPending = pending !== undefined && entryOf(pending, view) === entry;
    const known = next.releases.findLast((release) => isStartedBy(release, entry));
    const identified = {
      ...(isPending
        ? { manifest: pending.manifest, uki: pending.uki }
        : known === undefined
          ? {}
          : { manifest: known.manifest, uki: known.uki }),
      rootHash: entry.rootHash,
      imageVersion: entry.version,
    };
    if (!next.refused.some((refused) => isSameRelease(refused, identified))) {
      const message = `release ${entry.version} did not become good: it was started ${times(entry.counter?.done ?? 0)}, and no tries are left`;
      next = withRefused(next, { ...identified, why: "failed", message, at });
      events.push({ at, event: "failed", message, imageVersion: entry.version, rootHash: entry.rootHash });
    }
    if (isPending) next = { ...next, pending: undefined };
  }
  return { record: next, events };
}

function isStartedBy(release: KnownRelease, { stem, rootHash, version }: EntryView): boolean {
  const { entry = stem } = release;
  return (
    release.rootHash === rootHash && release.imageVersion === version && entry.toLowerCase() === stem.toLowerCase()
  );
}

/** What this machine knows of the release that runs. Two UKIs may start one root: the entry that was booted tells which of them it is. */
export function runningRelease(
  facts: MachineFacts,
  view: Pick<MachineView, "facts" | "entries">,
  { releases }: AgentRecord,
): KnownRelease | undefined {
  const stem = runningEntry(view)?.stem.toLowerCase();
  return releases.findLast(
    ({ rootHash, imageVersion, entry }) =>
      rootHash === facts.root?.rootHash &&
      imageVersion === facts.imageVersion &&
      (entry === undefined || stem === undefined || entry.toLowerCase() === stem),
  );
}

/** A run was broken off that gave the entry of the release another name, or took it back. */
export function isHeldBack({ rootHash }: Pick<PendingRelease, "rootHash">, { heldBack }: MachineView): boolean {
  return heldBack.some((entry) => entry.rootHash === rootHash);
}

export function entryOf(
  pending: Pick<PendingRelease, "entry" | "rootHash">,
  { entries }: Pick<MachineView, "entries">,
) {
  const wanted = pending.entry?.toLowerCase(); // FAT knows no case
  const started = entries.filter(({ rootHash }) => rootHash === pending.rootHash);
  // Power went between the name and the record of it: the counter tells which of them is new.
  if (wanted === undefined) return started.find(({ counter }) => counter !== undefined) ?? started[0];
  return started.find(({ stem }) => stem.toLowerCase() === wanted);
}
