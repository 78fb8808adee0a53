import { buildCommand } from "@stricli/core";
import { parseText } from "../parse.ts";
import { jsonFlag, type ProgressFlags, quietFlag, type ReleaseFlags, releaseFlags, workersFlag } from "./flags.ts";
import { type SourceTrustFlags, sourceTrustFlags } from "./trust-flags.ts";

export interface PullFlags extends ProgressFlags, ReleaseFlags, SourceTrustFlags {
  readonly output: string;
  readonly overwrite: boolean;
  readonly workers?: number | undefined;
}

export const pullCommand = buildCommand({
  loader: async () => (await import("../run/pull.ts")).runPull,
  parameters: {
    flags: {
      output: {
        kind: "parsed",
        parse: parseText,
        brief: "Directory for the artifacts; made where missing",
        placeholder: "DIR",
      },
      overwrite: { kind: "boolean", brief: "Replace artifacts that exist", default: false },
      ...sourceTrustFlags,
      ...releaseFlags,
      workers: workersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    aliases: { o: "output" },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "Release in a repository: docker://, oci: or oci-archive:", parse: String, placeholder: "REF" },
      ],
    },
  },
  docs: {
    brief: "Fetch a release from a registry",
    fullDescription: [
      "Writes every artifact as it was built. Every block of the root is held against the root hash when it arrives, every",
      "artifact against release.json; nothing appears that is not whole. A pull that broke off goes on where it was when it is",
      "run again with the same directory. REF may also be the container image that one release was made from.",
      "",
      "  ashlar pull docker://registry.example/my-os:1 -o out",
      "  ashlar pull registry.example/my-os:1 -o out --verify-key release.pub",
      "  ashlar pull registry.example/my-os@sha256:… -o out --platform linux/arm64",
    ].join("\n"),
  },
});
