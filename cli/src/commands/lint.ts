import { buildCommand } from "@stricli/core";
import { parseText, parseTimestamp } from "../parse.ts";
import {
  type CacheFlags,
  cacheFlag,
  jsonFlag,
  type ProgressFlags,
  platform,
  quietFlag,
  type RegistryFlags,
  referenceParameter,
  registryFlags,
  TRANSPORTS_HELP,
  text,
} from "./flags.ts";

export interface LintFlags extends ProgressFlags, RegistryFlags, CacheFlags {
  readonly list: boolean;
  readonly fatalWarnings: boolean;
  readonly skip?: readonly string[] | undefined;
  readonly all: boolean;
  readonly platform?: string | undefined;
  readonly tools?: string | undefined;
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
  readonly kernel?: string | undefined;
  readonly karg?: readonly string[] | undefined;
  readonly timestamp?: bigint | undefined;
  readonly tmpdir?: string | undefined;
}

export const lintCommand = buildCommand({
  loader: async () => (await import("../run/lint.ts")).runLint,
  parameters: {
    flags: {
      list: { kind: "boolean", brief: "List all lints instead; needs no REF", default: false },
      fatalWarnings: { kind: "boolean", brief: "Exit with 6 for warnings too", default: false },
      skip: {
        kind: "parsed",
        parse: parseText,
        brief: "Leave this lint out; may be given again",
        placeholder: "NAME",
        variadic: true,
        optional: true,
      },
      all: { kind: "boolean", brief: "Show all paths of a finding, not only the first ones", default: false },
      platform: platform("Platform to choose from an index (default: linux/amd64)"),
      tools: text("Image that systemd-boot and its stub are to come from; any REF", "REF"),
      imageId: text("IMAGE_ID that the build is to get", "ID"),
      imageVersion: text("IMAGE_VERSION that the build is to get", "VERSION"),
      kernel: text("Kernel that the build is to get where the image has several", "VERSION"),
      karg: {
        kind: "parsed",
        parse: parseText,
        brief: "Kernel argument that the build is to get; may be given again",
        placeholder: "ARG",
        variadic: true,
        optional: true,
      },
      timestamp: {
        kind: "parsed",
        parse: parseTimestamp,
        brief: "Clamp that the build is to get (default: SOURCE_DATE_EPOCH, else the image's creation)",
        placeholder: "TIME",
        optional: true,
      },
      tmpdir: text("Directory for temporary files, with room for the uncompressed layers (default: TMPDIR)", "DIR"),
      ...registryFlags,
      cache: cacheFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    aliases: { k: "karg" },
    positional: {
      kind: "tuple",
      parameters: [{ ...referenceParameter, optional: true }],
    },
  },
  docs: {
    brief: "Say what keeps an image from building, booting or being reproducible",
    fullDescription: [
      "Names what is wrong, where, why, and the line for a Containerfile that cures it. Fatal: `ashlar build` would refuse",
      "the image, or the machine would not work. Exit code 6 where there is something fatal. Nothing is built or changed.",
      "",
      ...TRANSPORTS_HELP,
      "",
      "  ashlar lint oci:./my-os:v1",
      "  ashlar lint --fatal-warnings --skip sysusers oci-archive:my-os.tar",
      "  ashlar lint --list",
    ].join("\n"),
  },
});
