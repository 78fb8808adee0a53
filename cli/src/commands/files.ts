import { buildCommand } from "@stricli/core";
import { jsonFlag, type OutputFlags, type ProgressFlags, quietFlag, type ReleaseFlags, releaseFlags } from "./flags.ts";

const image = {
  brief: "EROFS image, disk (slot A of it), release.json, or a release in a repository (docker://, oci:, oci-archive:)",
  parse: String,
  placeholder: "IMAGE",
} as const;

export interface CatFlags extends OutputFlags, ReleaseFlags {}

export interface ListFlags extends OutputFlags, ReleaseFlags {
  readonly long: boolean;
  readonly recursive: boolean;
}

export const lsCommand = buildCommand({
  loader: async () => (await import("../run/ls.ts")).runLs,
  parameters: {
    flags: {
      long: { kind: "boolean", brief: "Type and mode, links, owner, size, time, target", default: false },
      recursive: { kind: "boolean", brief: "All levels below, as paths", default: false },
      ...releaseFlags,
      json: jsonFlag,
    },
    aliases: { l: "long", R: "recursive" },
    positional: {
      kind: "tuple",
      parameters: [image, { brief: "Path inside (default: /)", parse: String, placeholder: "PATH", optional: true }],
    },
  },
  docs: {
    brief: "List files of an image without mounting it",
    fullDescription:
      "Lists files of an image, read in place; every block is checked where a root hash is known.\n\n  ashlar ls out/my-os_1.raw /usr/lib\n  ashlar ls -lR out/my-os_1.root.erofs /etc\n  ashlar ls docker://registry.example/my-os:1 /usr/lib",
  },
});

export const catCommand = buildCommand({
  loader: async () => (await import("../run/cat.ts")).runCat,
  parameters: {
    flags: { ...releaseFlags, json: { ...jsonFlag, brief: "Print size, digest and base64 content as JSON" } },
    positional: {
      kind: "tuple",
      parameters: [image, { brief: "File inside", parse: String, placeholder: "PATH" }],
    },
  },
  docs: {
    brief: "Print a file of an image",
    fullDescription:
      "Prints a file of an image; every block of it is checked where a root hash is known.\n\n  ashlar cat out/my-os_1.raw /etc/os-release\n  ashlar cat docker://registry.example/my-os:1 /etc/os-release",
  },
});

export interface ExtractFlags extends ProgressFlags, ReleaseFlags {
  readonly path?: string | undefined;
}

export const extractCommand = buildCommand({
  loader: async () => (await import("../run/extract.ts")).runExtract,
  parameters: {
    flags: {
      path: {
        kind: "parsed",
        parse: String,
        brief: "Only what is at or below this path",
        placeholder: "PATH",
        optional: true,
      },
      ...releaseFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [image, { brief: "Directory to fill; must be empty or missing", parse: String, placeholder: "DIR" }],
    },
  },
  docs: {
    brief: "Write the files of an image to a directory",
    fullDescription: [
      "As root, owners, device nodes and extended attributes are restored too; otherwise what could not be restored is noted.",
      "",
      "  ashlar extract out/my-os_1.raw ./tree",
      "  ashlar extract docker://registry.example/my-os:1 ./etc --path /etc",
    ].join("\n"),
  },
});
