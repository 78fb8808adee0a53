import { buildCommand } from "@stricli/core";
import {
  jsonFlag,
  type ProgressFlags,
  quietFlag,
  type RegistryFlags,
  registryFlags,
  text,
  workersFlag,
} from "./flags.ts";

export interface PushFlags extends ProgressFlags, RegistryFlags {
  readonly previous?: string | undefined;
  readonly sourceIndex?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
}

export const pushCommand = buildCommand({
  loader: async () => (await import("../run/push.ts")).runPush,
  parameters: {
    flags: {
      previous: text(
        "Tag or digest, in the same repository, of the release whose blocks are used again; none for none (default: what the tag holds)",
        "TAG|DIGEST",
      ),
      sourceIndex: text(
        "Digest of the image index that the source image was chosen from, to be recorded with the release",
        "DIGEST",
      ),
      tmpdir: text("Directory for temporary files, with room for the compressed root (default: TMPDIR)", "DIR"),
      ...registryFlags,
      workers: workersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: {
        brief: "Releases (STEM.release.json, or a directory with one), then where they go",
        parse: String,
        placeholder: "RELEASE… DST",
      },
    },
  },
  docs: {
    brief: "Store a release in a registry",
    fullDescription: [
      "Stores a release as an OCI artifact, in packs of blocks that can be fetched and checked one by one. Blocks that the",
      "release before it has are not sent again, nor are an unchanged kernel or initrd; pushing twice sends nothing.",
      "A release refers to the container image it was made from where that is in the same repository. Several releases,",
      "one an architecture, become one index. Without a tag in DST the version is the tag. The tag is moved last.",
      "",
      "  ashlar push out docker://registry.example/my-os:1",
      "  ashlar push out/my-os_2.release.json docker://registry.example/my-os:2 --previous 1",
      "  ashlar push amd64/os_1.release.json arm64/os_1.release.json docker://registry.example/my-os:stable",
    ].join("\n"),
  },
});
