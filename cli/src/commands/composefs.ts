import { buildCommand, buildRouteMap } from "@stricli/core";
import {
  jsonFlag,
  type OutputFlags,
  type ProgressFlags,
  quietFlag,
  type RegistryFlags,
  registryFlags,
  TRANSPORTS_HELP,
  text,
  workersFlag,
} from "./flags.ts";

const SUBJECT = "composefs image, dump of one, or REF" as const;

const subject = (placeholder: string, brief: string) => ({ brief, parse: String, placeholder }) as const;

/** How a REF becomes a tree. */
const treeFlags = {
  algorithm: {
    kind: "enum",
    values: ["sha256", "sha512"],
    brief: "Of the digests of files and image (default: sha512 with --bootable, that of a dump, else sha256)",
    optional: true,
  },
  oci: {
    kind: "boolean",
    brief: "Prepare REF as composefs-rs does container images: / as /usr, /run empty, no xattrs but capabilities",
    default: false,
  },
  bootable: {
    kind: "boolean",
    brief: "Prepare REF as bootc does, for booting: as --oci, and /boot and /sysroot empty",
    default: false,
  },
  platform: text("Platform to choose from an image index (default: linux/amd64)", "OS/ARCH[/VARIANT]"),
  tmpdir: text("Directory for temporary files, with room for the uncompressed layers (default: TMPDIR)", "DIR"),
  workers: workersFlag,
  ...registryFlags,
  json: jsonFlag,
  quiet: quietFlag,
} as const;

export interface TreeFlags extends ProgressFlags, RegistryFlags {
  readonly algorithm?: "sha256" | "sha512" | undefined;
  readonly oci: boolean;
  readonly bootable: boolean;
  readonly platform?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
}

const versionFlags = {
  formatVersion: { kind: "enum", values: ["0", "1", "2"], brief: "Format version (default: 1)", optional: true },
  minVersion: {
    kind: "enum",
    values: ["0", "1"],
    brief: "As mkcomposefs: the least version, 0 where only --max-version is given",
    optional: true,
  },
  maxVersion: {
    kind: "enum",
    values: ["0", "1"],
    brief: "As mkcomposefs: version 0 becomes 1 where there are whiteouts and this allows it",
    optional: true,
  },
  fromDump: text("Make the image from a dump instead of a REF; - is standard input", "FILE"),
} as const;

export interface WriteFlags extends TreeFlags {
  readonly formatVersion?: "0" | "1" | "2" | undefined;
  readonly minVersion?: "0" | "1" | undefined;
  readonly maxVersion?: "0" | "1" | undefined;
  readonly fromDump?: string | undefined;
}

export interface CreateFlags extends WriteFlags {
  readonly overwrite: boolean;
}

const createCommand = buildCommand({
  loader: async () => (await import("../run/composefs.ts")).runCreate,
  parameters: {
    flags: {
      ...treeFlags,
      ...versionFlags,
      overwrite: { kind: "boolean", brief: "Replace IMAGE where it exists", default: false },
    },
    positional: {
      kind: "array",
      parameter: { brief: "REF and IMAGE; IMAGE alone with --from-dump", parse: String, placeholder: "ARG" },
      minimum: 1,
      maximum: 2,
    },
  },
  docs: {
    brief: "Make a composefs image and print its digest",
    fullDescription: [
      "Byte for byte what mkcomposefs (versions 0 and 1) and composefs-rs (version 2) make of the same tree. Hard links",
      "are kept; mkcomposefs writes each name of a directory's file as a file of its own.",
      "",
      ...TRANSPORTS_HELP,
      "",
      "  ashlar composefs create oci:./my-os:v1 my-os.cfs",
      "  ashlar composefs create --bootable docker://quay.io/example/os:1 os.cfs",
      "  ashlar composefs create --min-version 0 --max-version 1 --from-dump tree.dump image.cfs",
    ].join("\n"),
  },
});

export interface DigestFlags extends WriteFlags {
  readonly all: boolean;
}

const digestCommand = buildCommand({
  loader: async () => (await import("../run/composefs.ts")).runDigest,
  parameters: {
    flags: {
      ...treeFlags,
      ...versionFlags,
      all: { kind: "boolean", brief: "Versions 1 and 2 with both algorithms, one a line", default: false },
    },
    positional: {
      kind: "tuple",
      parameters: [{ ...subject("SUBJECT", SUBJECT), optional: true }],
    },
  },
  docs: {
    brief: "Print the digest of a composefs image without writing it",
    fullDescription: [
      "With --bootable the digest is the one that bootc computes: version 1 and SHA-512 unless told otherwise. Of an",
      "image that exists it is the file's own.",
      "",
      "  ashlar composefs digest --bootable oci:./my-os:v1",
      "  ashlar composefs digest --bootable --all oci:./my-os:v1",
      "  ashlar composefs digest image.cfs",
    ].join("\n"),
  },
});

const infoCommand = buildCommand({
  loader: async () => (await import("../run/composefs-look.ts")).runInfo,
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: "tuple", parameters: [subject("IMAGE", "composefs image")] },
  },
  docs: {
    brief: "Say what a composefs image holds",
    fullDescription: "Version, digests, and what is inside, in numbers.\n\n  ashlar composefs info image.cfs",
  },
});

const fileFlags = { json: jsonFlag } as const;
export type FileFlags = OutputFlags;

const lsCommand = buildCommand({
  loader: async () => (await import("../run/composefs-look.ts")).runLs,
  parameters: {
    flags: fileFlags,
    positional: { kind: "tuple", parameters: [subject("IMAGE", "composefs image or dump")] },
  },
  docs: {
    brief: "List the names of a composefs image",
    fullDescription: "As composefs-info ls does.\n\n  ashlar composefs ls image.cfs",
  },
});

const objectsCommand = buildCommand({
  loader: async () => (await import("../run/composefs-look.ts")).runObjects,
  parameters: {
    flags: fileFlags,
    positional: { kind: "tuple", parameters: [subject("IMAGE", "composefs image or dump")] },
  },
  docs: {
    brief: "List the objects that a composefs image needs",
    fullDescription: "Paths below the object store, each once, sorted.\n\n  ashlar composefs objects image.cfs",
  },
});

const dumpCommand = buildCommand({
  loader: async () => (await import("../run/composefs-look.ts")).runDump,
  parameters: {
    flags: treeFlags,
    positional: { kind: "tuple", parameters: [subject("SUBJECT", SUBJECT)] },
  },
  docs: {
    brief: "Print a tree in composefs' dump format",
    fullDescription: [
      "One line a name, as composefs-info dump prints it; composefs create --from-dump and mkcomposefs --from-file read",
      "it.",
      "",
      "  ashlar composefs dump image.cfs",
      "  ashlar composefs dump --bootable oci:./my-os:v1 > tree.dump",
    ].join("\n"),
  },
});

export interface ComposefsDiffFlags extends TreeFlags {
  readonly exitCode: boolean;
}

const diffCommand = buildCommand({
  loader: async () => (await import("../run/composefs-look.ts")).runDiff,
  parameters: {
    flags: {
      ...treeFlags,
      exitCode: { kind: "boolean", brief: "Exit with 9 where the two differ", default: false },
    },
    positional: {
      kind: "tuple",
      parameters: [subject("A", SUBJECT), subject("B", "Any of these, also of another kind")],
    },
  },
  docs: {
    brief: "Say why two composefs digests differ",
    fullDescription: [
      "Names the first differing attribute of the first differing path, and counts the rest. Compares trees, not",
      "versions: two images of the same tree are the same.",
      "",
      "  ashlar composefs diff built.cfs booted.cfs",
      "  ashlar composefs diff --bootable oci:./my-os:v1 theirs.dump",
    ].join("\n"),
  },
});

export interface AnnotateFlags extends ProgressFlags, RegistryFlags {
  readonly algorithm: "sha256" | "sha512";
  readonly bootable: boolean;
  readonly check: boolean;
  readonly platform?: string | undefined;
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
}

const annotateCommand = buildCommand({
  loader: async () => (await import("../run/composefs-annotate.ts")).runAnnotate,
  parameters: {
    flags: {
      algorithm: { kind: "enum", values: ["sha256", "sha512"], brief: "Of the digests", default: "sha512" },
      bootable: { kind: "boolean", brief: "Also the digest of the image prepared for booting", default: false },
      check: { kind: "boolean", brief: "Write nothing: check the annotations that are there", default: false },
      platform: treeFlags.platform,
      tmpdir: treeFlags.tmpdir,
      workers: workersFlag,
      ...registryFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: { kind: "tuple", parameters: [subject("REF", "docker:// or oci: reference of one image, no index")] },
  },
  docs: {
    brief: "Write composefs digests into an image's manifest, or check them",
    fullDescription: [
      "The annotations of composefs-rs' draft for sealed images: configuration and merged image, with --bootable the one",
      "that bootc asks for. The manifest changes, so the image has another digest and loses its signatures; its tag moves.",
      "",
      "  ashlar composefs annotate --bootable oci:./my-os:v1",
      "  ashlar composefs annotate --check docker://quay.io/example/os:1",
    ].join("\n"),
  },
});

export const composefsRoutes = buildRouteMap({
  routes: {
    create: createCommand,
    digest: digestCommand,
    info: infoCommand,
    ls: lsCommand,
    objects: objectsCommand,
    dump: dumpCommand,
    diff: diffCommand,
    annotate: annotateCommand,
  },
  docs: { brief: "composefs images: made, measured, compared" },
});
