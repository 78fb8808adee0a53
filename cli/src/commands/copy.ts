import { buildCommand } from "@stricli/core";
import { jsonFlag, type ProgressFlags, quietFlag, type RegistryFlags, registryFlags } from "./flags.ts";
import { type SourceTrustFlags, sourceTrustFlags } from "./trust-flags.ts";

export interface CopyFlags extends ProgressFlags, RegistryFlags, SourceTrustFlags {
  readonly all: boolean;
  readonly overwrite: boolean;
}

export const copyCommand = buildCommand({
  loader: async () => (await import("../run/copy.ts")).runCopy,
  parameters: {
    flags: {
      all: {
        kind: "boolean",
        brief: "Also copy signatures and everything else that refers to it, and the releases of a channel",
        default: false,
      },
      overwrite: { kind: "boolean", brief: "Replace an archive that exists", default: false },
      ...sourceTrustFlags,
      ...registryFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "What to copy: docker://, oci: or oci-archive:", parse: String, placeholder: "SRC" },
        { brief: "Where to: the same; without a tag under that of SRC", parse: String, placeholder: "DST" },
      ],
    },
  },
  docs: {
    brief: "Copy images, releases and signatures between registries, layouts and archives",
    fullDescription: [
      "Copies an image, or an index with all its platforms. Digests stay what they are; the tag is moved last.",
      "Blobs that are there already, or can be mounted from another repository of the registry, do not travel.",
      "",
      "  ashlar copy docker://registry.example/os:42 oci:./os:42",
      "  ashlar copy --all docker://registry.example/os:stable oci-archive:stable.tar",
      "  ashlar copy docker://registry.example/os:42 docker://registry.internal/os:42 --verify-key release.pub",
      "  ashlar copy --all oci-archive:stable.tar docker://registry.internal/os:stable",
    ].join("\n"),
  },
});
