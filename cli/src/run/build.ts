import { join } from "node:path";
import { buildSystem } from "@ashlar/core/ops/build";
import type { BuildFlags } from "../commands/build.ts";
import { formatBytes } from "../output/units.ts";
import { inSession } from "./session.ts";
import { inWorkshop } from "./tools.ts";

export function runBuild(flags: BuildFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { release, releaseName } = await inWorkshop(
      reference,
      flags,
      session,
      ({ image, tree, created, clamp, artifacts, environment }) =>
        buildSystem(
          {
            tree,
            architecture: image.config.architecture,
            created,
            labels: image.config.labels,
            inputs: [{ name: "image", digest: image.manifestDigest }],
          },
          { ...flags, clamp, kargs: flags.karg ?? [] },
          artifacts,
          environment,
        ),
    );
    if (flags.json) {
      session.printJson({
        schema: "ashlar.build/v1",
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
