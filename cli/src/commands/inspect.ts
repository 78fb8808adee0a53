import { buildCommand } from "@stricli/core";
import { jsonFlag, type ProgressFlags, platform, quietFlag, type RegistryFlags, registryFlags } from "./flags.ts";

export interface InspectFlags extends ProgressFlags, RegistryFlags {
  readonly platform?: string | undefined;
}

export const inspectCommand = buildCommand({
  loader: async () => (await import("../run/inspect.ts")).runInspect,
  parameters: {
    flags: {
      platform: platform("Platform to describe from an image index (default: linux/amd64)"),
      ...registryFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [{ brief: "OCI reference, or any file that Ashlar writes", parse: String, placeholder: "ANY" }],
    },
  },
  docs: {
    brief: "Say what something is and what is in it",
    fullDescription: [
      "Takes OCI images, releases, disks, EROFS images, hash devices, UKIs and other PE images, initrds and FAT volumes.",
      "Files are recognised by their content, whatever they are called.",
      "",
      "  ashlar inspect oci:./my-os:v1",
      "  ashlar inspect out/my-os_1.raw",
      "  ashlar inspect --json out/my-os_1.efi",
      "  ashlar inspect docker://registry.example/my-os:1",
    ].join("\n"),
  },
});
