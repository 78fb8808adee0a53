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
import { type TrustFlags, trustFlags } from "./trust-flags.ts";

export interface VerifyFlags extends ProgressFlags, RegistryFlags, TrustFlags {
  readonly workers?: number | undefined;
  readonly platform?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly signatureOnly: boolean;
}

export const verifyCommand = buildCommand({
  loader: async () => (await import("../run/verify.ts")).runVerify,
  parameters: {
    flags: {
      ...trustFlags,
      signatureOnly: {
        kind: "boolean",
        brief: "Do not fetch and check the blocks of a release in a repository",
        default: false,
      },
      tmpdir: text("Directory that a release in a repository is fetched to for the time (default: TMPDIR)", "DIR"),
      platform: text("Platform to choose from an index (default: linux/amd64)", "OS/ARCH[/VARIANT]"),
      ...registryFlags,
      workers: workersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        {
          brief: "STEM.release.json, a disk (file or block device), or a release or image in a repository",
          parse: String,
          placeholder: "RELEASE|DISK|REF",
        },
      ],
    },
  },
  docs: {
    brief: "Check the signature of what is in a repository, and every block of a release or disk",
    fullDescription: [
      "Lists every check with its result; exit code 5 where one fails. Of what is in a repository the signature is",
      "checked first, by --key or --policy: exit code 6 where there is none that counts. What was signed, by",
      "which key, and under which name is listed; then every block of the release is fetched and checked.",
      "",
      "  ashlar verify out/my-os_1.release.json",
      "  ashlar verify /dev/sdb",
      "  ashlar verify registry.example/os:42 --key release.pub",
      "  ashlar verify registry.example/os:42 --policy /etc/containers/policy.json --signature-only",
    ].join("\n"),
  },
});
