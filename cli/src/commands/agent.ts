/** `ashlar agent …`: what the units of a machine call. Not listed, since people have `status`, `upgrade` and `history`. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import { fewWorkersFlag, jsonFlag, type OutputFlags, quietFlag, type RegistryFlags, registryFlags } from "./flags.ts";

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

const healthCommand = buildCommand({
  loader: async () => (await import("../run/machine/health.ts")).runHealth,
  parameters: { flags },
  docs: {
    brief: "Ask whether the release that runs is good",
    fullDescription: [
      "Runs the programs in /usr/lib/ashlar/health.d and /etc/ashlar/health.d in the order of their names, each with the time that",
      "[health] of the policy gives it, and looks at failed units where the policy asks for it. Exit code 12 where one fails;",
      "what they said goes into the history.",
    ].join("\n"),
  },
});

export interface AutoFlags extends AgentFlags, RegistryFlags {
  readonly workers?: number | undefined;
}

const autoCommand = buildCommand({
  loader: async () => (await import("../run/machine/agent.ts")).runAuto,
  parameters: { flags: { ...registryFlags, workers: fewWorkersFlag, ...flags } },
  docs: {
    brief: "Look for a newer release and reboot into what is staged, where it is time to",
    fullDescription: "Called by a timer every few minutes; what it does and when is in the policy of the machine.",
  },
});

const carryEtcCommand = buildCommand({
  loader: async () => (await import("../run/machine/agent.ts")).runCarryEtc,
  parameters: { flags },
  docs: {
    brief: "Carry local changes of /etc to the release that boots next",
    fullDescription: "Called when the machine goes down; nothing where no release is staged.",
  },
});

export const agentRoutes = buildRouteMap({
  routes: { booted: bootedCommand, health: healthCommand, auto: autoCommand, carryEtc: carryEtcCommand },
  docs: { brief: "What the units of a machine call" },
});
