/** `ashlar agent …`: what the units of a machine call. Not listed, since people have `status`, `upgrade` and `history`. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import { jsonFlag, type OutputFlags, quietFlag } from "./flags.ts";

export interface AgentFlags extends OutputFlags {
  readonly quiet: boolean;
}

const flags = { json: jsonFlag, quiet: quietFlag } as const;

const bootedCommand = buildCommand({
  loader: async () => (await import("../run/machine/agent.ts")).runBooted,
  parameters: { flags },
  docs: {
    brief: "Write down what became of the release that was staged",
    fullDescription:
      "Called early in each boot, and again when the boot is complete: remembers what was found good and what failed.",
  },
});

export const agentRoutes = buildRouteMap({
  routes: { booted: bootedCommand },
  docs: { brief: "What the units of a machine call" },
});
