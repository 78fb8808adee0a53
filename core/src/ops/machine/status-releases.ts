/** Which releases are on a machine, and what each of them is to it. */
import type { BootCounter } from "../update/index.ts";
import type { MachineFacts } from "./facts.ts";
import { entryOf } from "./outcome.ts";
import type { AgentRecord, KnownRelease } from "./record.ts";
import { type EntryView, type MachineView, runningEntry, type SlotView } from "./view.ts";

/** A release on the machine, as `ashlar` has it. */
export interface StatusRelease {
  /** Null where nobody with privileges has looked since the boot. */
  readonly slot: "a" | "b" | null;
  readonly imageVersion: string | null;
  readonly rootHash: string | null;
  /** File on the ESP that starts it; null where none does. */
  readonly entry: string | null;
  /**
   * `good`: confirmed, or installed and never counted. `set-back`: not started, since somebody chose the other. `downloaded`: fully
   * there but for its entry.
   */
  readonly state: "good" | "trial" | "bad" | "set-back" | "downloaded" | "no-entry" | "unknown";
  readonly triesLeft: number | null;
  readonly triesDone: number | null;
  readonly manifest: string | null;
  readonly reference: string | null;
  readonly verified: {
    readonly at: string;
    readonly channel: string | null;
    readonly signatures: readonly { readonly key: string; readonly form: string; readonly name?: string | undefined }[];
  } | null;
  /** What machine and image disagreed on in /etc when it was staged, a line each; decided as the policy says. */
  readonly etc: readonly string[];
}

/** What runs, what was staged by an update, and what can be gone back to, or will be. */
export function releasesOf(view: MachineView | undefined, record: AgentRecord, facts: MachineFacts) {
  const none = { booted: null, staged: null, rollback: null };
  if (view === undefined)
    return facts.root === undefined ? none : { ...none, booted: unseen(facts, facts.root.rootHash, record) };
  const current = runningEntry(view);
  const running = view.slots.find((slot) => slot.running);
  const other = view.slots.find((slot) => !slot.running);
  if (running === undefined) return none;
  const booted = statusRelease(running, current, record, facts.imageVersion);
  const { pending } = record;
  const pendingEntry = pending?.state === "staged" ? entryOf(pending, view) : undefined;
  const pendingSlot = view.slots.find(({ rootHash }) => rootHash !== undefined && rootHash === pending?.rootHash);
  const isStaged = pendingEntry !== undefined && pendingEntry !== current && pendingSlot !== undefined;
  // What somebody goes back to was on the disk: it is what is gone back to until it runs, and never staged.
  const isBack = pending?.back === true;
  const stagedEntry = isStaged && !isBack ? pendingEntry : undefined;
  const staged =
    pending?.state === "downloaded" && pendingSlot !== undefined
      ? { ...statusRelease(pendingSlot, undefined, record, pending.imageVersion), state: "downloaded" as const }
      : isStaged && !isBack
        ? statusRelease(pendingSlot, pendingEntry, record)
        : null;
  if (isStaged && isBack) return { booted, staged, rollback: statusRelease(pendingSlot, pendingEntry, record) };
  const olderEntry = view.entries.find(
    (entry) =>
      entry !== current && entry !== stagedEntry && entry.rootHash !== undefined && hasRoot(view, entry.rootHash),
  );
  const olderSlot = view.slots.find(({ rootHash }) => rootHash !== undefined && rootHash === olderEntry?.rootHash);
  const isFilled = other?.rootHash !== undefined && staged?.slot !== other.name;
  const rollback =
    olderEntry !== undefined && olderSlot !== undefined
      ? statusRelease(olderSlot, olderEntry, record)
      : isFilled
        ? statusRelease(other, undefined, record)
        : null;
  return { booted, staged, rollback };
}

function hasRoot({ slots }: MachineView, rootHash: string): boolean {
  return slots.some((slot) => slot.rootHash === rootHash);
}

function knownOf(record: AgentRecord, rootHash: string, version: string | undefined): KnownRelease | undefined {
  return record.releases.findLast(
    (release) => release.rootHash === rootHash && (version === undefined || release.imageVersion === version),
  );
}

function verifiedOf(known: KnownRelease | undefined): StatusRelease["verified"] {
  if (known === undefined) return null;
  return { at: known.verifiedAt, channel: known.channel?.name ?? null, signatures: known.signatures };
}

function statusRelease(
  slot: SlotView,
  entry: EntryView | undefined,
  record: AgentRecord,
  version: string | undefined = entry?.version,
): StatusRelease {
  const known = slot.rootHash === undefined ? undefined : knownOf(record, slot.rootHash, version);
  const counter: BootCounter | undefined = entry?.counter;
  return {
    slot: slot.name,
    imageVersion: version ?? known?.imageVersion ?? null,
    rootHash: slot.rootHash ?? null,
    entry: entry?.file ?? null,
    state: stateOf(entry),
    triesLeft: counter?.left ?? null,
    triesDone: counter?.done ?? null,
    manifest: known?.manifest ?? null,
    reference: known?.reference ?? null,
    verified: verifiedOf(known),
    etc: known?.etc ?? [],
  };
}

function stateOf(entry: EntryView | undefined): StatusRelease["state"] {
  if (entry === undefined) return "no-entry";
  if (entry.counter === undefined) return "good";
  if (!entry.bad) return "trial";
  return entry.counter.done === 0 ? "set-back" : "bad";
}

/** Where nobody with privileges has looked yet: what the release says of itself. */
function unseen(facts: MachineFacts, rootHash: string, record: AgentRecord): StatusRelease {
  const slot: SlotView = { name: "a", running: true, rootHash, label: "", size: 0 };
  return { ...statusRelease(slot, undefined, record, facts.imageVersion), slot: null, state: "unknown" };
}
