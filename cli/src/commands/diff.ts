import { buildCommand } from "@stricli/core";
import {
  type CacheFlags,
  cacheFlag,
  jsonFlag,
  type ProgressFlags,
  platform,
  quietFlag,
  type RegistryFlags,
  registryFlags,
  text,
  workersFlag,
} from "./flags.ts";

export interface DiffFlags extends ProgressFlags, RegistryFlags, CacheFlags {
  readonly all: boolean;
  readonly html?: string | undefined;
  readonly exitCode: boolean;
  readonly platform?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
}

const side = (placeholder: string, brief: string) => ({ brief, parse: String, placeholder }) as const;

export const diffCommand = buildCommand({
  loader: async () => (await import("../run/diff.ts")).runDiff,
  parameters: {
    flags: {
      all: { kind: "boolean", brief: "List every file, also those that differ in time only", default: false },
      html: text("Also write a report for the browser; one file that loads nothing else", "FILE"),
      exitCode: { kind: "boolean", brief: "Exit with 9 where the two differ", default: false },
      platform: platform("Platform to choose from an image index (default: linux/amd64)"),
      tmpdir: text("Directory for temporary files, with room for the uncompressed layers (default: TMPDIR)", "DIR"),
      workers: workersFlag,
      ...registryFlags,
      cache: cacheFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        side("A", "Before: OCI reference (image or release), release.json, disk or EROFS image"),
        side("B", "After: any of these, also of another kind"),
      ],
    },
  },
  docs: {
    brief: "Say what differs between two images, and what an update from A to B would move",
    fullDescription: [
      "Names packages, files and bytes that are added, removed or changed, and counts the 4 KiB blocks of B that A",
      "has nowhere: what an update would move.",
      "",
      "  ashlar diff oci:./my-os:v1 oci:./my-os:v2",
      "  ashlar diff out/my-os_1.release.json out/my-os_2.release.json --html diff.html",
      "  ashlar diff docker://registry.example/my-os:1 out/my-os_2.release.json",
      "  ashlar diff --exit-code --json a.root.erofs b.root.erofs",
    ].join("\n"),
  },
});
