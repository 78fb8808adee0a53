import { inlineBlockHasher } from "@ashlar/core/hash";
import { nodeHashes } from "@ashlar/core/node";
import { inspect } from "@ashlar/core/ops/inspect";
import type { InspectFlags } from "../commands/inspect.ts";
import { branchLines, inspectionTree } from "../output/inspect.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import { inSession } from "./session.ts";
import { releaseAccess } from "./stored-releases.ts";

export const INSPECT_SCHEMA = "ashlar.inspect/v1";

export function runInspect(flags: InspectFlags, subject: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { signal } = session;
    const inspection = await inspect(
      subject,
      {
        ...inputEnvironment(flags, session),
        blockHasher: inlineBlockHasher(nodeHashes),
        releases: releaseAccess(flags, signal),
      },
      { platform: platformOf(flags), signal },
    );
    if (flags.json) session.printJson({ schema: INSPECT_SCHEMA, subject, ...inspection });
    else for (const line of branchLines(inspectionTree(inspection, subject))) session.print(line);
  });
}
