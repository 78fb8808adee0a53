import { buildCommand } from "@stricli/core";
import { jsonFlag, quietFlag, workersFlag } from "./flags.ts";

export const verifyCommand = buildCommand({
  loader: async () => (await import("../run/verify.ts")).runVerify,
  parameters: {
    flags: { workers: workersFlag, json: jsonFlag, quiet: quietFlag },
    positional: {
      kind: "tuple",
      parameters: [
        { brief: "STEM.release.json, or a disk (file or block device)", parse: String, placeholder: "RELEASE|DISK" },
      ],
    },
  },
  docs: {
    brief: "Check every block of a release or disk against the root hash that its UKI carries",
    fullDescription: [
      "Lists every check with its result; exit code 5 where one fails.",
      "",
      "  ashlar verify out/my-os_1.release.json",
      "  ashlar verify /dev/sdb",
    ].join("\n"),
  },
});
