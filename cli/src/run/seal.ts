import { openContentLanding, type SealContentOptions, sealContent } from "@ashlar/core/ops/seal";
import type { SealFlags } from "../commands/seal.ts";
import { printMade } from "../output/release.ts";
import { readLists } from "./lists.ts";
import { inSession } from "./session.ts";
import { inWorkshop } from "./tools.ts";

export function runSeal(flags: SealFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const lists = await readLists(flags);
    const optionsOf = (clamp: bigint | undefined): SealContentOptions => ({
      ...flags,
      ...lists,
      clamp,
      algorithm: flags.hash,
    });
    const made = await inWorkshop(
      reference,
      flags,
      session,
      ({ input, inputs, clamp, artifacts, environment, landing }) =>
        sealContent(
          {
            tree: input.tree,
            architecture: input.architecture,
            created: input.created,
            labels: input.labels,
            inputs,
            landing,
            dispose: input.dispose,
          },
          optionsOf(clamp),
          artifacts,
          environment,
        ),
      (labels, { clamp, artifacts, environment }) =>
        openContentLanding(labels, optionsOf(clamp), artifacts, environment),
    );
    printMade(session, flags, "ashlar.seal/v1", made);
  });
}
