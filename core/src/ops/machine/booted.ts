/** Called in each boot: what became of the release that was staged is written down, and the view for `status` is made. */
import type { MachineEvent } from "./history.ts";
import type { MachineHost } from "./host.ts";
import { withRun } from "./run.ts";

/** Returns what is new. Errors: as those of every run. */
export function recordBoot(host: MachineHost): Promise<readonly MachineEvent[]> {
  return withRun(host, "booted", async ({ settled }) => settled);
}
