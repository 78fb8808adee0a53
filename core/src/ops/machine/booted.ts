/** Called in each boot: what became of the release that was staged is written down, and the view for `status` is made. */
import { SinkError } from "../../errors/index.ts";
import type { MachineEvent } from "./history.ts";
import type { MachineHost } from "./host.ts";
import { withRun } from "./run.ts";

/** Milliseconds: a start that took long meets the timer's first run. */
const RUN_WAIT = 60_000;

/** Returns what is new; nothing where another run goes on and on: the next one writes it down. Errors: as those of every run. */
export async function recordBoot(host: MachineHost): Promise<readonly MachineEvent[]> {
  try {
    return await withRun(host, "booted", async ({ settled }) => settled, { wait: RUN_WAIT });
  } catch (error) {
    if (error instanceof SinkError && error.code === "busy") return [];
    throw error;
  }
}
