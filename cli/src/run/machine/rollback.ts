/** `ashlar rollback`. */
import { rollback } from "@ashlar/core/ops/machine";
import type { RollbackFlags } from "../../commands/machine.ts";
import { inSession } from "../session.ts";
import { machineHost } from "./environment.ts";

const SCHEMA = "ashlar.rollback/v1";

export function runRollback(flags: RollbackFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const host = machineHost();
    const report = await rollback(host, { signal: session.signal });
    const reboots = flags.apply && report.rebootNeeded;
    if (flags.json) session.printJson({ schema: SCHEMA, ...report, reboots });
    else session.print(report.message);
    if (reboots) await host.reboot();
  });
}
