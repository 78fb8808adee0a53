/** `ashlar status` and `history`: they change nothing, and need no privileges. */
import { machineStatus, readHistory } from "@ashlar/core/ops/machine";
import type { HistoryFlags, StatusFlags } from "../../commands/machine.ts";
import { eventLines, statusLines } from "../../output/machine.ts";
import { inSession } from "../session.ts";
import { machineHost } from "./environment.ts";

export function runStatus(flags: StatusFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const status = await machineStatus(machineHost());
    if (flags.json) session.printJson(status);
    else for (const line of statusLines(status)) session.print(line);
  });
}

export function runHistory(flags: HistoryFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const events = await readHistory(machineHost().records);
    if (flags.json) session.printJson({ schema: "ashlar.history/v1", events });
    else for (const line of events.flatMap(eventLines)) session.print(line);
  });
}
