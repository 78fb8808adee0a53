/** `rollback`: the release before, and no return to the one that was gone back from until somebody or a newer one says so. */
import { compareVersions } from "../release/index.ts";
import { parseEntryName, rollbackTo } from "../update/index.ts";
import { updatedMachine } from "./bring.ts";
import type { MachineHost } from "./host.ts";
import { entryOf, isHeldBack } from "./outcome.ts";
import { isSameRelease, type PendingRelease, type RefusedRelease, withRefused } from "./record.ts";
import { type Run, timeText, withRun } from "./run.ts";
import { runningEntry } from "./view.ts";

export interface RollbackReport {
  /** For people, one line. */
  readonly message: string;
  readonly from: { readonly imageVersion: string | undefined; readonly rootHash: string };
  readonly to: { readonly imageVersion: string; readonly rootHash: string };
  /** False where only what was staged is not started. */
  readonly rebootNeeded: boolean;
}

/**
 * Starts the release of the other slot next. Where something is staged that never ran, that is what is taken back: what runs
 * stays. Errors: those of `rollbackTo`.
 */
export function rollback(host: MachineHost, options: { readonly signal?: AbortSignal | undefined } = {}) {
  return withRun(host, "rollback", async (run): Promise<RollbackReport> => {
    const { pending } = run.record();
    const current = runningEntry(run.view);
    const staged = pending?.state === "staged" ? pending : undefined;
    const stagedEntry = staged === undefined ? undefined : entryOf(staged, run.view);
    const isStaged =
      stagedEntry === undefined ? staged !== undefined && isHeldBack(staged, run.view) : stagedEntry !== current;
    const running = run.facts.root?.rootHash ?? "";
    const machine = await updatedMachine(run);
    const to = await rollbackTo(machine, {
      ...options,
      ...(isStaged ? { rootHash: running, entry: current?.file } : {}),
    });
    return isStaged && pending !== undefined ? takeBack(run, pending, to) : goBack(run, to);
  });
}

type Target = Awaited<ReturnType<typeof rollbackTo>>;

async function takeBack(run: Run, pending: PendingRelease, to: Target): Promise<RollbackReport> {
  const message = `release ${pending.imageVersion} was staged and is not started; ${to.version} stays`;
  const { manifest, rootHash, uki, imageVersion } = pending;
  const refused = refusal({ manifest, rootHash, uki, imageVersion }, run);
  await finish(run, { ...withRefused(run.record(), refused), pending: undefined }, message, to);
  const here = { imageVersion: to.version, rootHash: to.rootHash };
  return { message, from: here, to: here, rebootNeeded: false };
}

async function goBack(run: Run, to: Target): Promise<RollbackReport> {
  const { facts } = run;
  const rootHash = facts.root?.rootHash ?? "";
  const imageVersion = facts.imageVersion ?? "";
  const known = (hash: string, version: string) =>
    run.record().releases.findLast((release) => release.rootHash === hash && release.imageVersion === version);
  const target = known(to.rootHash, to.version);
  const left = { rootHash, imageVersion, ...identity(known(rootHash, imageVersion)) };
  const message = `release ${to.version} runs after a reboot`;
  const pending: PendingRelease = {
    rootHash: to.rootHash,
    imageVersion: to.version,
    ...identity(target),
    state: "staged",
    at: timeText(run.now),
    entry: parseEntryName(to.entry)?.stem ?? to.entry,
    bootId: facts.bootId,
    back: true,
  };
  const record = run.record();
  const others = { ...record, refused: record.refused.filter((refused) => !isSameRelease(refused, pending)) };
  const isBack = compareVersions(to.version, imageVersion) < 0;
  await finish(run, { ...(isBack ? withRefused(others, refusal(left, run)) : others), pending }, message, to);
  return {
    message,
    from: { imageVersion: facts.imageVersion, rootHash },
    to: { imageVersion: to.version, rootHash: to.rootHash },
    rebootNeeded: true,
  };
}

const identity = (known: { readonly manifest: string; readonly uki: string } | undefined) =>
  known === undefined ? {} : { manifest: known.manifest, uki: known.uki };

function refusal(release: Omit<RefusedRelease, "why" | "message" | "at">, run: Run): RefusedRelease {
  return { ...release, why: "rolled-back", message: "somebody went back from it", at: timeText(run.now) };
}

async function finish(run: Run, record: ReturnType<Run["record"]>, message: string, to: Target): Promise<void> {
  const at = timeText(run.now);
  const lastResult = { at, verb: "rollback", result: "rolled-back" as const, message, imageVersion: to.version };
  await run.save(
    { ...record, lastResult },
    { event: "rolled-back", message, imageVersion: to.version, rootHash: to.rootHash },
  );
}
