/** `ashlar etc …`: what of /etc is this machine's own. docs/etc.md explains it. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import { jsonFlag, type OutputFlags } from "./flags.ts";

const paths = {
  kind: "array",
  parameter: { brief: "Path below /etc", parse: String, placeholder: "PATH" },
} as const;

export interface EtcDiffFlags extends OutputFlags {
  readonly exitCode: boolean;
}

const diffCommand = buildCommand({
  loader: async () => (await import("../run/machine/etc.ts")).runEtcDiff,
  parameters: {
    flags: {
      exitCode: { kind: "boolean", brief: "Exit code 9 where anything differs", default: false },
      json: jsonFlag,
    },
    positional: paths,
  },
  docs: {
    brief: "Show what of /etc differs from the image",
    fullDescription: [
      "Compares /etc with the sealed /etc of the release that runs, at or below each PATH, and says what was contested when the",
      "changes were carried here by an update. Needs root.",
      "",
      "  ashlar etc diff",
      "  ashlar etc diff /etc/ssh --json",
    ].join("\n"),
  },
});

export interface EtcResetFlags extends OutputFlags {
  readonly all: boolean;
  readonly dryRun: boolean;
}

const resetCommand = buildCommand({
  loader: async () => (await import("../run/machine/etc.ts")).runEtcReset,
  parameters: {
    flags: {
      all: { kind: "boolean", brief: "Everything but machine-id, accounts too", default: false },
      dryRun: { kind: "boolean", brief: "Only say what would be done", default: false },
      json: jsonFlag,
    },
    positional: paths,
  },
  docs: {
    brief: "Take back what of /etc differs from the image",
    fullDescription: [
      "Gives /etc at and below each PATH back what the image has: what was changed or removed is restored, what was added is removed.",
      "It is the image's from then on, and goes on changing with it. Needs root.",
      "",
      "  ashlar etc reset /etc/ssh/sshd_config",
      "  ashlar etc reset --all --dry-run",
    ].join("\n"),
  },
});

export const etcRoutes = buildRouteMap({
  routes: { diff: diffCommand, reset: resetCommand },
  docs: { brief: "What of /etc is this machine's own" },
});
