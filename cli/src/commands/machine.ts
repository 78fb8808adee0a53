/** Verbs of a machine that runs a release: `ashlar status`, `upgrade`, `switch` and their kin. */
import { buildCommand } from "@stricli/core";
import {
  fewWorkersFlag,
  jsonFlag,
  type OutputFlags,
  type ProgressFlags,
  quietFlag,
  type RegistryFlags,
  registryFlags,
  text,
} from "./flags.ts";

export type StatusFlags = OutputFlags;

export const statusCommand = buildCommand({
  loader: async () => (await import("../run/machine/status.ts")).runStatus,
  parameters: { flags: { json: jsonFlag } },
  docs: {
    brief: "Show what runs on this machine, what is staged, and how the last update went",
    fullDescription: [
      "Shows the release that runs and its root hash as the kernel checks it, what the other slot holds, the tries that a",
      "staged release has left, whom releases were accepted from, and what went wrong.",
      "",
      "Without privileges it shows what somebody who has them saw last in this boot, and says when that was. --json prints the",
      "shape of bootc's status (org.containers.bootc/v1) with `ashlar` beside it (ashlar.status/v1).",
    ].join("\n"),
  },
});

export interface UpgradeFlags extends ProgressFlags, RegistryFlags {
  readonly check: boolean;
  readonly downloadOnly: boolean;
  readonly apply: boolean;
  readonly force: boolean;
  readonly workers?: number | undefined;
}

const applyFlag = { kind: "boolean", brief: "Reboot into what was staged", default: false } as const;

export const upgradeCommand = buildCommand({
  loader: async () => (await import("../run/machine/upgrade.ts")).runUpgrade,
  parameters: {
    flags: {
      downloadOnly: {
        kind: "boolean",
        brief:
          "Put everything onto the disk but the boot loader's entry; the next upgrade stages it, without asking the registry",
        default: false,
      },
      check: { kind: "boolean", brief: "Only look whether there is a newer release", default: false },
      apply: applyFlag,
      force: {
        kind: "boolean",
        brief: "Take also a release that failed on this machine, or that somebody went back from",
        default: false,
      },
      ...registryFlags,
      workers: fewWorkersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
  },
  docs: {
    brief: "Stage the release that this machine should run",
    fullDescription: [
      "Looks at the channel or reference that this machine follows, and puts what it has into the slot that does not run. What",
      "runs goes on running; the next boot tries the new release three times, and falls back where it does not become good.",
      "Blocks that are on the disk already are not fetched. An upgrade that broke off is gone on with by the next.",
      "",
      "Exit code 10 with --check: there is a newer release; 11: the channel is stale.",
      "",
      "  ashlar upgrade --check",
      "  ashlar upgrade --apply",
    ].join("\n"),
  },
});

export interface SwitchFlags extends ProgressFlags, RegistryFlags {
  readonly root?: string | undefined;
  readonly apply: boolean;
  readonly workers?: number | undefined;
}

export const switchCommand = buildCommand({
  loader: async () => (await import("../run/machine/upgrade.ts")).runSwitch,
  parameters: {
    flags: {
      root: text("Root of the channel, as a file or its digest: from there on it is trusted", "FILE|DIGEST"),
      apply: applyFlag,
      ...registryFlags,
      workers: fewWorkersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "Release or channel in a repository: HOST/NAME:TAG", parse: String, placeholder: "REF|CHANNEL" },
      ],
    },
  },
  docs: {
    brief: "Follow another release or channel, and stage what it has",
    fullDescription: [
      "Stages the release that REF names, or the newest of CHANNEL, be it of a lower version or of another product, and follows",
      "that from now on. Whom this machine trusts does not change: keys and policies are those of its policy files.",
      "",
      "  ashlar switch registry.example/os:beta --root beta-root.json",
      "  ashlar switch registry.example/os:41",
    ].join("\n"),
  },
});

export interface RollbackFlags extends OutputFlags {
  readonly apply: boolean;
}

export const rollbackCommand = buildCommand({
  loader: async () => (await import("../run/machine/rollback.ts")).runRollback,
  parameters: { flags: { apply: { ...applyFlag, brief: "Reboot at once" }, json: jsonFlag } },
  docs: {
    brief: "Start the release of the other slot next, and stay there",
    fullDescription: [
      "The next boot starts the release that ran before, with tries as after an upgrade. The one that was gone back from is not",
      "installed again until there is a newer one, or somebody says `upgrade --force`. Called again it goes forward.",
      "What was staged and never ran is taken back instead: then what runs stays.",
      "",
      "  ashlar rollback --apply",
    ].join("\n"),
  },
});

export interface GcFlags extends OutputFlags {
  readonly dryRun: boolean;
}

export const gcCommand = buildCommand({
  loader: async () => (await import("../run/machine/gc.ts")).runGc,
  parameters: {
    flags: {
      dryRun: { kind: "boolean", brief: "Only say what would be removed", default: false },
      json: jsonFlag,
    },
  },
  docs: {
    brief: "Remove what belongs to no release on this machine",
    fullDescription: [
      "Removes entries on the ESP that start a root which is on the disk no longer, UKIs that were never finished, layers of /etc",
      "and digests of roots that are gone. What runs, is staged, or can be gone back to stays; `upgrade` makes room by itself.",
    ].join("\n"),
  },
});

export interface HistoryFlags extends OutputFlags {}

export const historyCommand = buildCommand({
  loader: async () => (await import("../run/machine/status.ts")).runHistory,
  parameters: { flags: { json: jsonFlag } },
  docs: {
    brief: "Show what happened on this machine: releases staged, found good, failed, gone back from",
    fullDescription: "Prints the events that the agent remembers, the oldest first. --json prints one document.",
  },
});
