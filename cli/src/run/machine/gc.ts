/** `ashlar gc`. */
import { collectGarbage } from "@ashlar/core/ops/machine";
import type { GcFlags } from "../../commands/machine.ts";
import { inSession } from "../session.ts";
import { machineHost } from "./environment.ts";

const SCHEMA = "ashlar.gc/v1";

export function runGc(flags: GcFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const { esp, etc, recipes } = await collectGarbage(machineHost(), flags);
    if (flags.json) session.printJson({ schema: SCHEMA, dryRun: flags.dryRun, esp, etc, recipes });
    else {
      for (const file of esp) session.print(`ESP   ${file}`);
      for (const name of etc) session.print(`/etc  ${name}`);
      for (const name of recipes) session.print(`root  ${name}`);
    }
  });
}
