/**
 * Is this release good? Programs of the image and of the machine's owner say so, and failed units where the policy asks. Whoever
 * fails keeps the boot from being confirmed; what then happens is the unit's to do.
 */
import { decodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { believedTime } from "./facts.ts";
import { appendHistory } from "./history.ts";
import type { MachineHost } from "./host.ts";
import { readPolicyFiles, type UpdatePolicy } from "./policy.ts";
import { timeText } from "./run.ts";

/** Those of the image come first; nothing in /etc turns one of them off. */
export const HEALTH_FOLDERS = ["/usr/lib/ashlar/health.d", "/etc/ashlar/health.d"] as const;
/** Of a folder. */
export const MAX_HEALTH_CHECKS = 64;
/** Bytes of what one program says that are kept: the last ones. */
export const MAX_HEALTH_OUTPUT = 2048;

export interface HealthProgram {
  /** For people: its path. */
  readonly name: string;
  /** Why it cannot be run, such as `is not executable`; undefined where it can. */
  readonly problem?: string | undefined;
}

export interface ProgramOutcome {
  /** Undefined where it was ended by a signal. */
  readonly status: number | undefined;
  /** Name of the signal, or why it could not be started. */
  readonly reason?: string | undefined;
  readonly timedOut: boolean;
  /** The last bytes of both outputs. */
  readonly output: Uint8Array;
}

export interface HealthHost {
  /** In the order of {@link HEALTH_FOLDERS}, and of the names in each. */
  programs(): Promise<readonly HealthProgram[]>;
  /** Ends it, and what it has started, after `limit` milliseconds. */
  run(program: HealthProgram, limit: number, signal: AbortSignal | undefined): Promise<ProgramOutcome>;
  /** Names of the units that systemd has found failed. */
  failedUnits(): Promise<readonly string[]>;
  /** Milliseconds, of a clock that only goes forward. */
  elapsed(): number;
}

export interface HealthCheck {
  readonly name: string;
  readonly passed: boolean;
  /** `exit status 1`, `no answer in 60 s`; undefined where it passed without a word to say. */
  readonly message: string | undefined;
  readonly seconds: number;
  readonly output: string;
}

export interface HealthReport {
  readonly healthy: boolean;
  readonly checks: readonly HealthCheck[];
}

/** All checks are made, also behind one that fails: whoever reads of it wants to know all. */
export async function checkHealth(
  host: Pick<MachineHost, "policyFiles">,
  programs: HealthHost,
  signal?: AbortSignal,
): Promise<HealthReport> {
  const checks: HealthCheck[] = [];
  const policy = await readPolicy(host, checks);
  for (const program of await programs.programs()) {
    signal?.throwIfAborted();
    checks.push(await runCheck(programs, program, policy.health.timeout, signal));
  }
  if (policy.health.failedUnits === "fail") checks.push(await checkUnits(programs));
  return { healthy: checks.every(({ passed }) => passed), checks };
}

const remark = (name: string, passed: boolean, message: string): HealthCheck => ({
  name,
  passed,
  message,
  seconds: 0,
  output: "",
});

/**
 * A release whose own policy cannot be read would never update itself again, so it is not good. A mistake of the machine's owner is
 * no fault of the release: it is said, and the image's settings hold.
 */
async function readPolicy(host: Pick<MachineHost, "policyFiles">, checks: HealthCheck[]): Promise<UpdatePolicy> {
  const { sealed, local } = await host.policyFiles();
  try {
    return readPolicyFiles(sealed, local);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    try {
      const policy = readPolicyFiles(sealed, []);
      checks.push(remark("policy", true, error.message));
      return policy;
    } catch (second) {
      if (!isAshlarError(second)) throw second;
      checks.push(remark("policy", false, second.message));
      return readPolicyFiles([], []);
    }
  }
}

async function runCheck(
  host: HealthHost,
  program: HealthProgram,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<HealthCheck> {
  const { name, problem } = program;
  if (problem !== undefined) return remark(name, false, problem);
  const start = host.elapsed();
  const { status, reason, timedOut, output } = await host.run(program, limit, signal);
  const message = timedOut
    ? `no answer in ${limit / 1000} s`
    : status === 0
      ? undefined
      : status === undefined
        ? (reason ?? "was ended")
        : `exit status ${status}`;
  return {
    name,
    passed: message === undefined,
    message,
    seconds: Math.round((host.elapsed() - start) / 10) / 100,
    output: decodeUtf8(output.subarray(-MAX_HEALTH_OUTPUT)),
  };
}

async function checkUnits(host: HealthHost): Promise<HealthCheck> {
  const name = "failed units";
  try {
    const units = await host.failedUnits();
    return remark(name, units.length === 0, units.length === 0 ? "none" : units.join(", "));
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return remark(name, false, error.message);
  }
}

/** Tries to be alone for the history, and milliseconds between them: half a minute. */
const TRIES = 60;
const PAUSE = 500;

/**
 * Writes it down: what failed always, what went well while the boot is on trial. Another run may be changing the machine for
 * minutes; this waits for a while, and then writes all the same: a lost line is worse than one of two at once.
 */
export async function recordHealth(
  host: MachineHost,
  { healthy, checks }: HealthReport,
  sleep: (milliseconds: number) => Promise<void>,
): Promise<void> {
  const facts = await host.facts();
  if (healthy && facts.loader.bootCountPath === undefined) return;
  const told = checks.filter(({ passed }) => passed === healthy);
  const message = healthy
    ? `${told.length} ${told.length === 1 ? "health check" : "health checks"} passed`
    : `not healthy: ${told.map(({ name, message }) => `${name}: ${message}`).join("; ")}`;
  const detail = told
    .filter(({ output }) => output !== "")
    .map(({ name, output }) => `${name}:\n${output.trimEnd()}`)
    .join("\n");
  const lock = await lockPatiently(host, sleep);
  try {
    await appendHistory(host.records, {
      at: timeText(believedTime(host.clock(), facts)),
      event: "health",
      message,
      ...(facts.imageVersion === undefined ? {} : { imageVersion: facts.imageVersion }),
      ...(facts.root === undefined ? {} : { rootHash: facts.root.rootHash }),
      ...(detail === "" ? {} : { detail }),
    });
  } finally {
    await lock?.release();
  }
}

async function lockPatiently(host: MachineHost, sleep: (milliseconds: number) => Promise<void>) {
  for (let tries = 0; tries < TRIES; tries++)
    try {
      return await host.lock("agent health");
    } catch (error) {
      if (!isAshlarError(error) || error.code !== "busy") throw error;
      await sleep(PAUSE);
    }
  return undefined;
}
