/** `ashlar agent health`: whether the release that runs is good. */
import { setTimeout as sleep } from "node:timers/promises";
import { isAshlarError } from "@ashlar/core/errors";
import { healthHost } from "@ashlar/core/node/machine";
import { checkHealth, type HealthCheck, recordHealth } from "@ashlar/core/ops/machine";
import type { AgentFlags } from "../../commands/agent.ts";
import { EXIT } from "../../exit-codes.ts";
import { Failed, inSession } from "../session.ts";
import { machineHost } from "./environment.ts";

const SCHEMA = "ashlar.health/v1";

function lineOf({ name, passed, message, seconds }: HealthCheck): string {
  const what = message === undefined ? "" : `: ${message}`;
  return `${passed ? "ok  " : "FAIL"}  ${name}${what}  (${seconds.toFixed(2)} s)`;
}

export function runHealth(flags: AgentFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const host = machineHost();
    const report = await checkHealth(host, healthHost(), session.signal);
    if (flags.json) session.printJson({ schema: SCHEMA, ...report });
    else
      for (const check of report.checks) {
        session.print(lineOf(check));
        if (!check.passed)
          for (const line of check.output.trimEnd().split("\n")) if (line !== "") session.print(`      ${line}`);
      }
    try {
      await recordHealth(host, report, (milliseconds) => sleep(milliseconds));
    } catch (error) {
      // A full or read-only /var keeps no history. That makes a good release no bad one.
      if (!isAshlarError(error)) throw error;
      session.reporter.note({ code: "no-history", message: error.message });
    }
    if (!report.healthy) throw new Failed(EXIT.unhealthy);
  });
}
