import { buildCommand } from "@stricli/core";
import {
  jsonFlag,
  type ProgressFlags,
  quietFlag,
  type ReleaseFlags,
  releaseFlags,
  TRANSPORTS_HELP,
  text,
  workersFlag,
} from "./flags.ts";

export interface ReproduceFlags extends ProgressFlags, ReleaseFlags {
  /** Reference of the source image. */
  readonly source?: string | undefined;
  readonly tools?: string | undefined;
  /** File, or reference of an image by its digest. */
  readonly agent?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
}

export const reproduceCommand = buildCommand({
  loader: async () => (await import("../run/reproduce.ts")).runReproduce,
  parameters: {
    flags: {
      source: text(
        "Image that the release was made from; any REF. Without a tag: by the recorded digest (default: that in the release's repository)",
        "REF",
      ),
      tools: text("Image that --tools named in the build, where it did (default: as --source)", "REF"),
      agent: text(
        "What --agent named in the build, where it did (default: the executable in the release, if it has the recorded digest)",
        "FILE|REF@DIGEST",
      ),
      tmpdir: text("Directory for the new build, with room for image and layers (default: TMPDIR)", "DIR"),
      ...releaseFlags,
      workers: workersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "STEM.release.json, or a release in a repository", parse: String, placeholder: "RELEASE|REF" },
      ],
    },
  },
  docs: {
    brief: "Build a release again from its source image, and compare every byte",
    fullDescription: [
      "Builds by the options that the release records and compares the digest of every artifact: so a third party can",
      "check that a binary image is what its public container image says. Where they differ, exit code 9; named are the",
      "files of the root, sections of the UKI and partitions of the disk that are not the same. Nothing is kept.",
      "",
      "  ashlar reproduce docker://registry.example/my-os:1",
      "  ashlar reproduce out/my-os_1.release.json --source docker://registry.example/my-os-image",
      "",
      ...TRANSPORTS_HELP,
    ].join("\n"),
  },
});
