/** `upgrade` and `switch`: look at the source, bring the machine to what it has, and remember how that went. */
import { isAshlarError, PolicyError } from "../../errors/index.ts";
import { bring, runningOf, type UpgradeOptions, type UpgradeReport } from "./bring.ts";
import { withFinding } from "./find.ts";
import { heldCandidate } from "./held.ts";
import type { MachineHost } from "./host.ts";
import type { AgentEnvironment, Finding, FindOptions, Found } from "./look.ts";
import { runningRelease } from "./outcome.ts";
import type { UpdatePolicy } from "./policy.ts";
import type { AgentRecord, ChosenSource, RunOutcome } from "./record.ts";
import { type Run, timeText, withRun } from "./run.ts";
import { type TrackedSource, trackedSource } from "./tracked-source.ts";

/**
 * Brings the machine to what its source has. Errors: those of the source and of staging; PolicyError `no-source` where nothing
 * says what to follow.
 */
export function upgrade(
  host: MachineHost,
  environment: AgentEnvironment,
  options: UpgradeOptions & { readonly verb?: "upgrade" | "auto" | undefined } = {},
): Promise<UpgradeReport> {
  const verb = options.verb ?? "upgrade";
  return withRun(host, verb, async (run) => {
    const policy = await run.policy();
    const source = trackedSource(policy, run.record());
    if (source === undefined)
      throw new PolicyError("no-source", "no channel or reference is set: a policy file or `ashlar switch` names one");
    const held = verb === "upgrade" ? await stageHeld(run, policy, source, environment, options) : undefined;
    return held ?? follow(run, policy, verb, source, undefined, environment, options);
  });
}

/** What was downloaded before is staged without asking anybody; undefined where that cannot be. */
async function stageHeld(
  run: Run,
  policy: UpdatePolicy,
  source: TrackedSource,
  environment: AgentEnvironment,
  options: UpgradeOptions,
): Promise<UpgradeReport | undefined> {
  const { mode = "stage", force = false } = options;
  const candidate = mode === "stage" && !force ? await heldCandidate(run, source, policy, environment) : undefined;
  if (candidate === undefined) return undefined;
  try {
    const report = await bring(run, policy, source, { candidate, expires: undefined }, environment, options);
    const { underway: _, ...record } = run.record();
    await run.save({ ...record, lastResult: outcomeOf(report, "upgrade", run.now) });
    return report;
  } catch (error) {
    // It is not on the disk as it was: what is right of it stays, and the rest is fetched.
    if (isAshlarError(error) && (error.kind === "IntegrityError" || error.kind === "SourceError")) return undefined;
    throw error;
  }
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
      throw new PolicyError(
        "source-fixed",
        "the image fixes what this machine follows: by source.fixed, or since it trusts the root of its channel alone",
      );
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
  const finding: FindOptions = {
    force: options.force,
    anyVersion: chosen !== undefined,
    identify: options.mode !== "check",
    installed: runningRelease(facts, run.view, run.record()),
    now: run.now,
  };
  await run.begin("look");
  return withFinding(source, facts, policy, run.record(), environment, finding, async (found) => {
    await run.save(lookedAt(run.record(), source, found, run.now));
    const { finding: result } = found;
    const report =
      result.result === "newer"
        ? await bring(
            run,
            policy,
            source,
            { candidate: result.candidate, expires: found.expires },
            environment,
            options,
          )
        : nothingToDo(run, source, result);
    const outcome = outcomeOf(report, verb, run.now);
    const isChange = options.mode !== "check" && chosen !== undefined;
    const { underway: _, ...ended } = run.record();
    const record = { ...ended, ...(isChange ? { source: chosen } : {}) };
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

function nothingToDo(run: Run, source: TrackedSource, finding: Exclude<Finding, { result: "newer" }>): UpgradeReport {
  const { result, message } = finding;
  const rebootNeeded = run.record().pending?.state === "staged";
  const nothing = { release: undefined, staged: undefined, etc: [] };
  return { result, message, source, running: runningOf(run), ...nothing, rebootNeeded };
}
