/** `ashlar agent …`: what units call. */
import { recordBoot } from "@ashlar/core/ops/machine";
import type { AgentFlags } from "../../commands/agent.ts";
import { eventLine } from "../../output/machine.ts";
import { inSession } from "../session.ts";
import { machineHost } from "./environment.ts";

export function runBooted(flags: AgentFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const events = await recordBoot(machineHost());
    if (flags.json) session.printJson({ schema: "ashlar.booted/v1", events });
    else for (const event of events) session.print(eventLine(event));
  });
}
