/** `ashlar agent …`: what units call. */
import { auto, carryPendingEtc, describeCarried, recordBoot } from "@ashlar/core/ops/machine";
import type { AgentFlags, AutoFlags } from "../../commands/agent.ts";
import { eventLines, upgradeLines } from "../../output/machine.ts";
import { inSession } from "../session.ts";
import { blockHasher } from "../workers.ts";
import { agentEnvironment, machineHost } from "./environment.ts";

export function runBooted(flags: AgentFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const events = await recordBoot(machineHost());
    if (flags.json) session.printJson({ schema: "ashlar.booted/v1", events });
    else for (const line of events.flatMap(eventLines)) session.print(line);
  });
}

export function runAuto(flags: AutoFlags): Promise<void> {
  return inSession(flags, async (session) => {
    await using hasher = blockHasher(flags.workers ?? 0);
    const report = await auto(machineHost(), await agentEnvironment(flags, hasher, session));
    if (flags.json) session.printJson({ schema: "ashlar.auto/v1", ...report });
    else {
      for (const line of report.upgrade === undefined ? [] : upgradeLines(report.upgrade)) session.print(line);
      if (report.next !== undefined) session.print(`looks again at ${report.next}`);
      if (report.reboots) session.print("reboots");
    }
  });
}

export function runCarryEtc(flags: AgentFlags): Promise<void> {
  return inSession(flags, async (session) => {
    await using hasher = blockHasher(0);
    const carried = await carryPendingEtc(machineHost(), { blockHasher: hasher, signal: session.signal });
    const etc = describeCarried(carried);
    if (flags.json)
      session.printJson({ schema: "ashlar.carry-etc/v1", carried: carried !== undefined, conflicts: etc });
    else for (const line of etc) session.print(line);
  });
}
