import { PolicyError } from "@ashlar/core/errors";
import { buildSystem } from "@ashlar/core/ops/build";
import type { Input } from "@ashlar/core/ops/image";
import type { BuildFlags } from "../commands/build.ts";
import { printMade } from "../output/release.ts";
import { readLists } from "./lists.ts";
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
    const lists = await readLists(flags);
    const made = await inWorkshop(
      reference,
      flags,
      session,
      ({ input, tools, agent, inputs, clamp, artifacts, environment }) =>
        buildSystem(
          {
            tree: input.tree,
            architecture: architectureOf(input),
            created: input.created,
            labels: input.labels,
            inputs,
            tools: tools?.tree,
            agent,
          },
          { ...flags, ...lists, clamp, kargs: flags.karg ?? [] },
          artifacts,
          environment,
        ),
    );
    printMade(session, flags, "ashlar.build/v1", made);
  });
}
