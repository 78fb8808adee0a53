/** `upgrade` and `switch`: look at the source, stage what it has, and remember all of it. */
import { PolicyError } from "../../errors/index.ts";
import { architectureOf } from "../build/architecture.ts";
import {
  type Machine,
  parseEntryName,
  type Staged,
  type StageStep,
  stageRelease,
  storedContent,
} from "../update/index.ts";
import {
  type AgentEnvironment,
  type Candidate,
  type Finding,
  type FindOptions,
  type Found,
  type TrackedSource,
  trackedSource,
  withFinding,
} from "./find.ts";
import type { MachineHost, OpenedEspFiles } from "./host.ts";
import { entryOf } from "./outcome.ts";
import type { UpdatePolicy } from "./policy.ts";
import {
  type AgentRecord,
  type ChosenSource,
  type KnownRelease,
  type PendingRelease,
  type RunOutcome,
  withRelease,
} from "./record.ts";
import { type Run, timeText, withRun } from "./run.ts";

export interface UpgradeOptions {
  /** `check` only looks; `download` puts everything but the boot loader's entry onto the disk. Default `stage`. */
  readonly mode?: "check" | "download" | "stage" | undefined;
  /** Also a release that failed here, or that somebody went back from. */
  readonly force?: boolean | undefined;
  /** Called when a step of staging begins. */
  readonly onStep?: ((step: StageStep) => void) | undefined;
}

export interface UpgradeReport {
  readonly result: Exclude<RunOutcome["result"], "error" | "rolled-back">;
  /** For people, one line. */
  readonly message: string;
  readonly source: TrackedSource;
  readonly running: { readonly imageVersion: string | undefined; readonly rootHash: string };
  /** What there is to run; undefined where there is nothing. */
  readonly release: KnownRelease | undefined;
  /** What was written; undefined where nothing was. */
  readonly staged: Staged | undefined;
  /** Whether the next boot starts something else than what runs. */
  readonly rebootNeeded: boolean;
}

/**
 * Brings the machine to what its source has. Errors: those of the source and of staging; PolicyError `no-source` where nothing
 * says what to follow.
 */
export function upgrade(
  host: MachineHost,
  environment: AgentEnvironment,
  options: UpgradeOptions = {},
): Promise<UpgradeReport> {
  return withRun(host, "upgrade", async (run) => {
    const policy = await run.policy();
    const source = trackedSource(policy, run.record());
    if (source === undefined)
      throw new PolicyError("no-source", "no channel or reference is set: a policy file or `ashlar switch` names one");
    return follow(run, policy, "upgrade", source, undefined, environment, options);
  });
}

/** Follows another source from now on, once something of it is staged. Errors: as {@link upgrade}; PolicyError `source-fixed`. */
export function switchSource(
  host: MachineHost,
  environment: AgentEnvironment,
  chosen: ChosenSource,
  options: UpgradeOptions = {},
): Promise<UpgradeReport> {
  return withRun(host, "switch", async (run) => {
    const policy = await run.policy();
    if (policy.fixedSource)
      throw new PolicyError("source-fixed", "the image fixes what this machine follows: source.fixed in its policy");
    const source = { ...chosen, root: chosen.root, from: "switch" } as const;
    return follow(run, policy, "switch", source, chosen, environment, options);
  });
}

async function follow(
  run: Run,
  policy: UpdatePolicy,
  verb: string,
  source: TrackedSource,
  chosen: ChosenSource | undefined,
  environment: AgentEnvironment,
  options: UpgradeOptions,
): Promise<UpgradeReport> {
  const { facts } = run;
  const finding: FindOptions = { force: options.force, anyVersion: chosen !== undefined, now: run.now };
  return withFinding(source, facts, policy, run.record(), environment, finding, async (found) => {
    await run.save(lookedAt(run.record(), source, found, run.now));
    const { finding: result } = found;
    const report =
      result.result === "newer"
        ? await bring(run, source, result.candidate, environment, options)
        : nothingToDo(run, source, result);
    const outcome = outcomeOf(report, verb, run.now);
    const isChange = options.mode !== "check" && chosen !== undefined;
    const record = { ...run.record(), ...(isChange ? { source: chosen } : {}) };
    await run.save(
      options.mode === "check"
        ? { ...record, lastCheck: outcome }
        : { ...record, lastCheck: outcome, lastResult: outcome },
      ...(isChange ? [{ event: "switched", message: `follows ${source.kind} ${source.reference} now` }] : []),
    );
    return report;
  });
}

function outcomeOf({ result, message, release }: UpgradeReport, verb: string, now: number): RunOutcome {
  const version = release === undefined ? {} : { imageVersion: release.imageVersion };
  return { at: timeText(now), verb, result, message, ...version };
}

/** What was seen counts at once, whatever becomes of the update: an older state is never taken again. */
function lookedAt(
  record: AgentRecord,
  { reference }: TrackedSource,
  { channel, finding }: Found,
  now: number,
): AgentRecord {
  const { [reference]: _, ...others } = record.channels;
  return {
    ...record,
    ...(channel === undefined ? {} : { channels: { ...others, [reference]: channel } }),
    ...(finding.result === "stale" ? {} : { lastFresh: timeText(now) }),
  };
}

const runningOf = ({ facts }: Run) => ({ imageVersion: facts.imageVersion, rootHash: facts.root?.rootHash ?? "" });

function nothingToDo(run: Run, source: TrackedSource, finding: Exclude<Finding, { result: "newer" }>): UpgradeReport {
  const { result, message } = finding;
  const rebootNeeded = run.record().pending?.state === "staged";
  return { result, message, source, running: runningOf(run), release: undefined, staged: undefined, rebootNeeded };
}

async function bring(
  run: Run,
  source: TrackedSource,
  candidate: Candidate,
  environment: AgentEnvironment,
  { mode = "stage", onStep }: UpgradeOptions,
): Promise<UpgradeReport> {
  const { known, stored } = candidate;
  const { imageVersion } = known;
  const base = { source, running: runningOf(run), release: known, staged: undefined };
  if (isRunning(run, known))
    return { ...base, result: "current", message: `release ${imageVersion} runs`, rebootNeeded: false };
  const { pending } = run.record();
  const isThere = pending?.manifest === known.manifest && entryOf(pending, run.view) !== undefined;
  if (isThere && pending?.state === "staged" && mode !== "check")
    return {
      ...base,
      result: "staged",
      message: `release ${imageVersion} is staged already, and runs after a reboot`,
      rebootNeeded: true,
    };
  if (mode === "check") {
    const message = `release ${imageVersion} is there${candidate.required ? ", and should be installed at once" : ""}`;
    return { ...base, result: "newer", message, rebootNeeded: isThere };
  }
  const staged = await stage(run, candidate, environment, onStep);
  if (staged.change === "none" && staged.rootHash === run.pair.running.rootHash) {
    await run.save(withRelease(run.record(), known));
    return { ...base, result: "current", message: `release ${imageVersion} runs`, rebootNeeded: false };
  }
  await remember(run, candidate, staged);
  return {
    ...base,
    staged,
    result: "staged",
    message: `release ${stored.release.imageVersion} is staged, and runs after a reboot`,
    rebootNeeded: true,
  };
}

function isRunning({ facts, record }: Run, known: KnownRelease): boolean {
  const { root, imageVersion } = facts;
  return record().releases.some(
    (release) =>
      release.manifest === known.manifest &&
      release.rootHash === root?.rootHash &&
      release.imageVersion === imageVersion,
  );
}

/** The parts of the machine that staging writes to. Throws what the view has found; PolicyError `slot-in-use`. */
export async function updatedMachine(run: Run): Promise<Machine> {
  const { root, verity, signature, name } = run.pair.inactive;
  const used = await run.disk.useOf([root, verity, ...(signature === undefined ? [] : [signature])]);
  if (used !== undefined)
    throw new PolicyError("slot-in-use", `slot ${name} of ${run.disk.device.name} is in use: ${used}`, {
      path: run.disk.device.name,
    });
  return {
    device: run.disk.device,
    esp: openedEsp(run),
    architecture: architectureOf(run.facts.architecture).systemd,
    running: run.facts.root?.rootHash ?? "",
  };
}

function openedEsp({ esp, view }: Run): OpenedEspFiles {
  if (esp !== undefined) return esp;
  const problem = view.problems.find(({ code }) => code === "esp");
  throw new PolicyError("esp-unusable", `the ESP cannot be used: ${problem?.message ?? "it cannot be opened"}`);
}

async function stage(
  run: Run,
  { known, stored }: Candidate,
  environment: AgentEnvironment,
  onStep: UpgradeOptions["onStep"],
): Promise<Staged> {
  const machine = await updatedMachine(run);
  let isInvalid = false;
  const staged = await stageRelease(storedContent(stored, environment), machine, environment, {
    recipes: await readRecipes(run),
    onStep(step) {
      isInvalid ||= step === "invalidate";
      onStep?.(step);
    },
  }).catch(async (error: unknown) => {
    // What was staged before is gone from the slot, whatever came then.
    if (isInvalid) await run.save({ ...run.record(), pending: undefined });
    throw error;
  });
  if (staged.recipe !== undefined) await run.host.recipes.write(known.rootHash, staged.recipe);
  return staged;
}

async function readRecipes({ host, slots, facts }: Run): Promise<ReadonlyMap<string, Uint8Array>> {
  const wanted = [facts.root?.rootHash, ...slots.slots.map(({ rootHash }) => rootHash)];
  const recipes = new Map<string, Uint8Array>();
  for (const rootHash of wanted) {
    const bytes = rootHash === undefined ? undefined : await host.recipes.read(rootHash);
    if (rootHash !== undefined && bytes !== undefined) recipes.set(rootHash, bytes);
  }
  return recipes;
}

async function remember(run: Run, { known }: Candidate, staged: Staged): Promise<void> {
  const { rootHash, uki, imageVersion, manifest } = known;
  const pending: PendingRelease = {
    manifest,
    rootHash,
    uki,
    imageVersion,
    state: "staged",
    at: timeText(run.now),
    entry: parseEntryName(staged.entry)?.stem ?? staged.entry,
    bootId: run.facts.bootId,
  };
  const what = staged.change === "uki" ? "its UKI alone, in" : "in";
  await run.save(
    { ...withRelease(run.record(), known), pending },
    {
      event: "staged",
      message: `release ${imageVersion} is staged, ${what} slot ${staged.slot}`,
      imageVersion,
      rootHash,
    },
  );
}
