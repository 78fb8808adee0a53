import { buildCommand } from "@stricli/core";
import { type InputFlags, inputFlags, referenceParameter, TRANSPORTS_HELP } from "./flags.ts";
import { type SourceTrustFlags, sourceTrustFlags } from "./trust-flags.ts";

export interface SealFlags extends InputFlags, SourceTrustFlags {
  readonly hash: "sha256" | "sha512";
}

export const sealCommand = buildCommand({
  loader: async () => (await import("../run/seal.ts")).runSeal,
  parameters: {
    flags: {
      ...inputFlags,
      ...sourceTrustFlags,
      hash: { kind: "enum", values: ["sha256", "sha512"], brief: "Hash algorithm of the tree", default: "sha256" },
    },
    aliases: { o: "output" },
    positional: {
      kind: "tuple",
      parameters: [referenceParameter],
    },
  },
  docs: {
    brief: "Make an EROFS image and its dm-verity hash tree of any content",
    fullDescription: [
      "Writes STEM.root.erofs, STEM.root.verity and STEM.release.json with the root hash. The content need not be a",
      "system: nothing is changed but that times are clamped.",
      "",
      ...TRANSPORTS_HELP,
      "",
      "  ashlar seal oci:./models:v3 -o out --name models",
      "  ashlar seal dir:./models -o out --name models --timestamp 2026-01-01T00:00:00Z",
      "  curl -s https://example.org/data.tar.gz | ashlar seal tar:- -o out --name data",
    ].join("\n"),
  },
});
