/** Brings a machine to a release that was found: stages it, and remembers that. */
import { isAshlarError, PolicyError } from "../../errors/index.ts";
import { architectureOf } from "../build/architecture.ts";
import { type Machine, parseEntryName, type Staged, type StageOptions, stageRelease } from "../update/index.ts";
import { describeCarried, etcCarrier } from "./etc.ts";
import { conditionsOf, HELD_FILE } from "./held.ts";
import type { OpenedEspFiles } from "./host.ts";
import type { AgentEnvironment, Candidate } from "./look.ts";
import { entryOf, runningRelease } from "./outcome.ts";
import type { UpdatePolicy } from "./policy.ts";
import { type KnownRelease, type PendingRelease, type RunOutcome, withEtc, withRelease } from "./record.ts";
import { type Run, timeText } from "./run.ts";
import type { TrackedSource } from "./tracked-source.ts";
import { runningEntry } from "./view.ts";

export interface UpgradeOptions {
  /** `check` only looks; `download` puts everything but the boot loader's entry onto the disk. Default `stage`. */
  readonly mode?: "check" | "download" | "stage" | undefined;
  /** Also a release that failed here, or that somebody went back from. */
  readonly force?: boolean | undefined;
  /** Called before a step of staging begins, and waited for. */
  readonly onStep?: StageOptions["onStep"];
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
  /** What machine and image disagree on in /etc, a line each; decided as the policy says. */
  readonly etc: readonly string[];
}

export const runningOf = ({ facts }: Run) => ({
  imageVersion: facts.imageVersion,
  rootHash: facts.root?.rootHash ?? "",
});

export async function bring(
  run: Run,
  policy: UpdatePolicy,
  source: TrackedSource,
  { candidate, expires }: { readonly candidate: Candidate; readonly expires: string | undefined },
  environment: AgentEnvironment,
  { mode = "stage", onStep }: UpgradeOptions,
): Promise<UpgradeReport> {
  const { known } = candidate;
  const { imageVersion } = known;
  const base = { source, running: runningOf(run), release: known, staged: undefined, etc: [] };
  const { pending } = run.record();
  // Where something else is staged, what runs has to be put first again.
  if (isRunning(run, known) && pending?.state !== "staged")
    return { ...base, result: "current", message: `release ${imageVersion} runs`, rebootNeeded: false };
  const isPending = pending?.manifest === known.manifest && pending.rootHash === known.rootHash;
  const isStaged = isPending && pending.state === "staged" && entryOf(pending, run.view) !== undefined;
  if (mode === "check") {
    const message = `release ${imageVersion} is there${candidate.required ? ", and should be installed at once" : ""}`;
    return { ...base, result: "newer", message, rebootNeeded: isStaged };
  }
  if (isStaged)
    return {
      ...base,
      result: "staged",
      message: `release ${imageVersion} is staged already, and runs after a reboot`,
      rebootNeeded: true,
    };
  const isHeld = isPending && pending.state === "downloaded" && run.pair.inactive.rootHash === known.rootHash;
  if (isHeld && mode === "download")
    return {
      ...base,
      result: "downloaded",
      message: `release ${imageVersion} is on the disk already; upgrade stages it`,
      rebootNeeded: false,
    };
  const carrier = await etcCarrier(run, known, policy, environment, candidate.findRunning);
  const hold = mode === "download";
  const beforeEntry = async (): Promise<void> => {
    await carrier.beforeEntry?.();
    // Before it can boot: what was staged is known of even if power goes before the rest is written down.
    const agreed = withEtc(known, describeCarried(carrier.carried()));
    if (!hold) await run.save({ ...withRelease(run.record(), agreed), pending: pendingOf(run, known, "staged") });
  };
  const hooks = { onStep, hold, beforeEntry, onRoot: carrier.onRoot };
  const staged = await stage(run, candidate, environment, hooks);
  if (isRunningEntry(run, staged)) {
    await run.save({ ...withRelease(run.record(), withEntry(known, staged)), pending: undefined });
    return { ...base, result: "current", message: `release ${imageVersion} runs`, rebootNeeded: false };
  }
  const etc = describeCarried(carrier.carried());
  if (staged.held) await run.host.records.write(HELD_FILE, candidate.document);
  const until = expires === undefined ? {} : { until: expires };
  const terms = staged.held ? { conditions: await conditionsOf(source, policy, environment), ...until } : {};
  await remember(run, candidate, staged, etc, terms);
  if (!staged.held) await run.host.records.remove(HELD_FILE);
  const done = staged.held ? "is on the disk; upgrade stages it" : "is staged, and runs after a reboot";
  return {
    ...base,
    staged,
    etc,
    result: staged.held ? "downloaded" : "staged",
    message: `release ${imageVersion} ${done}`,
    rebootNeeded: !staged.held,
  };
}

function isRunning({ facts, view, record }: Run, known: KnownRelease): boolean {
  return runningRelease(facts, view, record())?.manifest === known.manifest;
}

/** The parts of the machine that staging writes to. Throws what the view has found; PolicyError `slot-in-use`, `esp-damaged`. */
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
  if (esp !== undefined && esp.unmended.length > 0)
    throw new PolicyError(
      "esp-damaged",
      `${esp.name}: the ESP is in use, and has to be mended first: ${esp.unmended.join(", ")}`,
      { path: esp.name },
    );
  if (esp !== undefined) return esp;
  const problem = view.problems.find(({ code }) => code === "esp");
  throw new PolicyError("esp-unusable", `the ESP cannot be used: ${problem?.message ?? "it cannot be opened"}`);
}

async function stage(
  run: Run,
  { known, content, findRunning }: Candidate,
  environment: AgentEnvironment,
  { onStep, ...options }: StageOptions,
): Promise<Staged> {
  const machine = await updatedMachine(run);
  const staged = await stageRelease(content, machine, environment, {
    ...options,
    recipes: await readRecipes(run, findRunning),
    async onStep(step) {
      const record = run.record();
      // What was staged before is gone from the slot, whatever comes then.
      await run.begin(step, known.imageVersion, step === "invalidate" ? { ...record, pending: undefined } : record);
      await onStep?.(step);
    },
  });
  if (staged.recipe !== undefined) await run.host.recipes.write(known.rootHash, staged.recipe).catch(noneForOurs);
  return staged;
}

/** A recipe that is lost costs bytes at the next update, and is no reason to fail this one. */
function noneForOurs(error: unknown): undefined {
  if (!isAshlarError(error)) throw error;
}

async function readRecipes(
  { host, slots, facts }: Run,
  findRunning: Candidate["findRunning"],
): Promise<ReadonlyMap<string, Uint8Array>> {
  const wanted = [facts.root?.rootHash, ...slots.slots.map(({ rootHash }) => rootHash)];
  const recipes = new Map<string, Uint8Array>();
  for (const rootHash of wanted) {
    const bytes = rootHash === undefined ? undefined : await host.recipes.read(rootHash).catch(noneForOurs);
    if (rootHash !== undefined && bytes !== undefined) recipes.set(rootHash, bytes);
  }
  const running = facts.root?.rootHash;
  const found = running === undefined || recipes.has(running) ? undefined : (await findRunning())?.root.recipeBytes;
  if (running !== undefined && found !== undefined) {
    recipes.set(running, found);
    await host.recipes.write(running, found).catch(noneForOurs);
  }
  return recipes;
}

/** What was asked for is what runs: its entry comes first again. A UKI that failed has the same root, and another entry. */
function isRunningEntry({ view, facts }: Run, staged: Staged): boolean {
  const current = runningEntry(view);
  if (staged.change !== "none" || staged.rootHash !== facts.root?.rootHash) return false;
  return current === undefined || current.stem.toLowerCase() === stemOf(staged).toLowerCase();
}

const stemOf = ({ entry }: Staged): string => parseEntryName(entry)?.stem ?? entry;

const withEntry = (known: KnownRelease, staged: Staged): KnownRelease => ({ ...known, entry: stemOf(staged) });

function pendingOf(run: Run, known: KnownRelease, state: PendingRelease["state"]): PendingRelease {
  const { rootHash, uki, imageVersion, manifest } = known;
  return { manifest, rootHash, uki, imageVersion, state, at: timeText(run.now), bootId: run.facts.bootId };
}

async function remember(
  run: Run,
  { known }: Candidate,
  staged: Staged,
  etc: readonly string[],
  terms: Pick<PendingRelease, "conditions" | "until">,
): Promise<void> {
  const { rootHash, imageVersion } = known;
  const pending = { ...pendingOf(run, known, staged.held ? "downloaded" : "staged"), entry: stemOf(staged), ...terms };
  const contested = etc.length === 0 ? "" : `; ${etc.length} conflicts in /etc`;
  const what = staged.rootHash === run.facts.root?.rootHash ? "its UKI alone, in" : "in";
  await run.save(
    { ...withRelease(run.record(), withEtc(withEntry(known, staged), etc)), pending },
    {
      event: staged.held ? "downloaded" : "staged",
      message: `release ${imageVersion} is ${staged.held ? "on the disk" : "staged"}, ${what} slot ${staged.slot}${contested}`,
      imageVersion,
      rootHash,
      ...(etc.length === 0 ? {} : { detail: etc.join("\n") }),
    },
  );
}
