/** What the timer calls: looks at the source when the policy says so, and reboots into what is staged when it says so. */
import { SinkError } from "../../errors/index.ts";
import type { UpgradeReport } from "./bring.ts";
import { believedTime, type MachineFacts } from "./facts.ts";
import type { MachineHost } from "./host.ts";
import type { AgentEnvironment } from "./look.ts";
import { entryOf } from "./outcome.ts";
import { readPolicyFiles, type UpdatePolicy } from "./policy.ts";
import { type AgentRecord, readRecord } from "./record.ts";
import { type Run, timeText, withRun } from "./run.ts";
import { isInside, nextCheck } from "./schedule.ts";
import { upgrade } from "./upgrade.ts";
import { runningEntry } from "./view.ts";

export interface AutoReport {
  /** Undefined: it was not time to look. */
  readonly upgrade: UpgradeReport | undefined;
  /** When the source is looked at next, RFC 3339; undefined where nothing is followed. */
  readonly next: string | undefined;
  readonly reboots: boolean;
}

/** Milliseconds: after a failure the next look is not later than that, since most failures are a network that is not there. */
const RETRY_INTERVAL = 3_600_000;

/** Errors: those of `upgrade`; each is remembered. */
export async function auto(host: MachineHost, environment: AgentEnvironment): Promise<AutoReport> {
  const facts = await host.facts();
  const files = await host.policyFiles();
  const policy = readPolicyFiles(files.sealed, files.local);
  const now = believedTime(host.clock(), facts);
  const { record } = await readRecord(host.records);
  const next = nextLook(policy, record, facts, now, environment);
  if (next === undefined) return { upgrade: undefined, next: undefined, reboots: false };
  const isTime = next <= now && isInside(policy.check.windows, host.wallClock(now));
  let report: UpgradeReport | undefined;
  let reboots = false;
  try {
    if (isTime) report = await upgrade(host, environment, { mode: policy.mode, verb: "auto" });
    reboots = policy.reboot.policy === "window" && (await rebootIfDue(host, policy, record));
  } catch (error) {
    if (!(error instanceof SinkError) || error.code !== "busy") throw error; // else somebody is at it: the next tick looks again
  }
  const after = isTime ? (await readRecord(host.records)).record : record;
  const then = nextLook(policy, after, facts, now, environment);
  return { upgrade: report, next: then === undefined ? undefined : timeText(then), reboots };
}

function nextLook(
  { source, check }: UpdatePolicy,
  record: AgentRecord,
  facts: MachineFacts,
  now: number,
  { hashes }: AgentEnvironment,
): number | undefined {
  if (source === undefined && record.source === undefined) return undefined;
  const { lastCheck } = record;
  const hasFailed = lastCheck?.result === "error";
  const interval = hasFailed ? Math.min(check.interval, RETRY_INTERVAL) : check.interval;
  const times = {
    lastCheck: lastCheck === undefined ? undefined : Date.parse(lastCheck.at),
    now,
    startedAt: now - facts.uptime * 1000,
    interval,
    jitter: check.jitter,
    key: facts.machineId ?? facts.bootId,
  };
  return nextCheck(times, hashes);
}

/**
 * Only for what was staged in this boot: a machine whose boot loader starts something else all the same must not reboot in
 * every window.
 */
async function rebootIfDue(host: MachineHost, { reboot }: UpdatePolicy, before: AgentRecord): Promise<boolean> {
  const isWaiting = (await readRecord(host.records)).record.pending ?? before.pending;
  if (isWaiting?.state !== "staged") return false;
  return withRun(host, "auto", async (run: Run) => {
    const { pending } = run.record();
    const entry = pending === undefined ? undefined : entryOf(pending, run.view);
    const isDue =
      pending?.bootId === run.facts.bootId &&
      entry !== undefined &&
      entry !== runningEntry(run.view) &&
      entry.file === run.view.next &&
      isInside(reboot.windows, host.wallClock(run.now));
    if (!isDue) return false;
    await run.save(run.record(), { event: "reboot", message: `reboots into release ${pending?.imageVersion}` });
    await host.reboot();
    return true;
  });
}
