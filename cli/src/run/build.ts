import { join } from "node:path";
import { PolicyError } from "@ashlar/core/errors";
import { buildSystem } from "@ashlar/core/ops/build";
import type { Input } from "@ashlar/core/ops/image";
import type { BuildFlags } from "../commands/build.ts";
import { formatBytes } from "../output/units.ts";
import { inSession } from "./session.ts";
import { inWorkshop } from "./tools.ts";

/** A disk is for one architecture; a tree without programs says none. */
function architectureOf({ architecture, name }: Input): string {
  if (architecture !== undefined) return architecture;
  throw new PolicyError(
    "no-architecture",
    `${name}: nothing in it says what machine it is for; give --platform linux/amd64 or linux/arm64`,
  );
}

export function runBuild(flags: BuildFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { release, releaseName } = await inWorkshop(
      reference,
      flags,
      session,
      ({ input, tools, inputs, clamp, artifacts, environment }) =>
        buildSystem(
          {
            tree: input.tree,
            architecture: architectureOf(input),
            created: input.created,
            labels: input.labels,
            inputs,
            tools: tools?.tree,
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
