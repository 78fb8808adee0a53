import { buildCommand } from "@stricli/core";
import { parseNid, parseText } from "../parse.ts";
import {
  jsonFlag,
  type OutputFlags,
  type ProgressFlags,
  quietFlag,
  type ReleaseFlags,
  releaseFlags,
  text,
} from "./flags.ts";

const image = {
  brief: "EROFS image, disk (slot A of it), release.json, or a release in a repository (docker://, oci:, oci-archive:)",
  parse: String,
  placeholder: "IMAGE",
} as const;

const deviceFlag = {
  kind: "parsed",
  parse: parseText,
  brief: "File of a further device of IMAGE, in the order of its device table; may be given several times",
  placeholder: "FILE",
  variadic: true,
  optional: true,
} as const;

export interface FsckFlags extends ProgressFlags, ReleaseFlags {
  readonly extract?: string | undefined;
  readonly device?: readonly string[] | undefined;
  readonly metadata: boolean;
}

export const fsckCommand = buildCommand({
  loader: async () => (await import("../run/fsck.ts")).runFsck,
  parameters: {
    flags: {
      extract: text("Write the files to this directory too, which must be empty or missing", "DIR"),
      device: deviceFlag,
      metadata: { kind: "boolean", brief: "Do not decompress data", default: false },
      ...releaseFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: { kind: "tuple", parameters: [image] },
  },
  docs: {
    brief: "Find everything that is wrong with an EROFS image",
    fullDescription: [
      "Reads all metadata, decompresses all data and lists every finding with its place, not the first alone. Errors are what",
      "readers fail at or get wrong; warnings are what they do not mind, such as bytes that belong to nothing and are not zero.",
      "With an error the exit code is 3.",
      "",
      "  ashlar fsck out/my-os_1.root.erofs",
      "  ashlar fsck --extract ./tree image.erofs",
      "  ashlar fsck --device blob.img layers.erofs",
    ].join("\n"),
  },
});

export interface DumpFlags extends OutputFlags, ReleaseFlags {
  readonly device?: readonly string[] | undefined;
  readonly inodes: boolean;
  readonly path?: string | undefined;
  readonly nid?: number | undefined;
  readonly bytes: boolean;
}

export const dumpCommand = buildCommand({
  loader: async () => (await import("../run/dump.ts")).runDump,
  parameters: {
    flags: {
      inodes: { kind: "boolean", brief: "Every inode: its layout and where its content lies", default: false },
      path: text("The inode at this path alone", "PATH"),
      nid: {
        kind: "parsed",
        parse: parseNid,
        brief: "The inode with this number alone",
        placeholder: "N",
        optional: true,
      },
      bytes: { kind: "boolean", brief: "Every byte of the image: what it belongs to", default: false },
      device: deviceFlag,
      ...releaseFlags,
      json: jsonFlag,
    },
    positional: { kind: "tuple", parameters: [image] },
  },
  docs: {
    brief: "Show how an EROFS image is laid out",
    fullDescription: [
      "Shows superblock, features, counts and which kinds of things the space goes to; they add up to the image's size.",
      "",
      "  ashlar dump out/my-os_1.root.erofs",
      "  ashlar dump --path /usr/bin/env image.erofs     one inode, its extents",
      "  ashlar dump --inodes --json image.erofs         every inode",
      "  ashlar dump --bytes image.erofs                 every byte belongs to something",
    ].join("\n"),
  },
});
