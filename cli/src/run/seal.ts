import { join } from "node:path";
import { sealContent } from "@ashlar/core/ops/seal";
import type { SealFlags } from "../commands/seal.ts";
import { formatBytes } from "../output/units.ts";
import { inSession } from "./session.ts";
import { inWorkshop } from "./tools.ts";

export function runSeal(flags: SealFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { release, releaseName } = await inWorkshop(
      reference,
      flags,
      session,
      ({ input, inputs, clamp, artifacts, environment }) =>
        sealContent(
          {
            tree: input.tree,
            architecture: input.architecture,
            created: input.created,
            labels: input.labels,
            inputs,
          },
          { ...flags, clamp, algorithm: flags.hash },
          artifacts,
          environment,
        ),
    );
    if (flags.json) {
      session.printJson({
        schema: "ashlar.seal/v1",
        directory: flags.output,
        releaseName,
        release,
        notes: session.notes,
      });
      return;
    }
    for (const { name, size } of release.artifacts) session.print(`${join(flags.output, name)}  ${formatBytes(size)}`);
    session.print(join(flags.output, releaseName));
    session.print(`root hash ${release.rootHash}`);
  });
}
