import { sealContent } from "@ashlar/core/ops/seal";
import type { SealFlags } from "../commands/seal.ts";
import { printMade } from "../output/release.ts";
import { inSession } from "./session.ts";
import { inWorkshop } from "./tools.ts";

export function runSeal(flags: SealFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const made = await inWorkshop(reference, flags, session, ({ input, inputs, clamp, artifacts, environment }) =>
      sealContent(
        {
          tree: input.tree,
          architecture: input.architecture,
          created: input.created,
          labels: input.labels,
          inputs,
          dispose: input.dispose,
        },
        { ...flags, clamp, algorithm: flags.hash },
        artifacts,
        environment,
      ),
    );
    printMade(session, flags, "ashlar.seal/v1", made);
  });
}
