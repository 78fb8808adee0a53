/** Flags that several commands share, each described once. */
import {
  parseChunkSize,
  parseClusterSize,
  parseCompression,
  parseKernel,
  parsePath,
  parsePlatformName,
  parseRetryTimes,
  parseSalt,
  parseSectorSize,
  parseSize,
  parseStem,
  parseText,
  parseTimestamp,
  parseWorkers,
} from "../parse.ts";

export const jsonFlag = {
  kind: "boolean",
  brief: "Print the result as JSON (versioned schema)",
  default: false,
} as const;
export const quietFlag = { kind: "boolean", brief: "No progress and no notes", default: false } as const;

export const text = (brief: string, placeholder: string) =>
  ({ kind: "parsed", parse: parseText, brief, placeholder, optional: true }) as const;

export const platform = (brief: string) =>
  ({ kind: "parsed", parse: parsePlatformName, brief, placeholder: "OS/ARCH[/VARIANT]", optional: true }) as const;

export const sizeFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseSize, brief, placeholder: "SIZE", optional: true }) as const;

export const sectorSizeFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseSectorSize, brief, placeholder: "BYTES", optional: true }) as const;

export const workersFlag = {
  kind: "parsed",
  parse: parseWorkers,
  brief: "Threads that hash; the result does not depend on it (default: one less than the processors, 1 to 8)",
  placeholder: "N",
  optional: true,
} as const;

/** Of commands that run beside what a machine is for. */
export const fewWorkersFlag = {
  ...workersFlag,
  brief: "Threads that hash, each with some memory of its own (default: none beside the command's own)",
} as const;

/** The input of `build` and `seal`. */
export const referenceParameter = {
  brief: "Input: docker://, oci:, oci-archive:, docker-archive:, dir:, tar: or containers-storage:",
  parse: String,
  placeholder: "REF",
} as const;

/** What REF may be, for the long help. */
export const TRANSPORTS_HELP: readonly string[] = [
  "REF is one of",
  "  docker://HOST/NAME[:TAG][@DIGEST] image in a registry; docker:// may be left out where HOST is there",
  "  oci:DIR[:TAG|@DIGEST]             OCI image layout",
  "  oci-archive:FILE[:TAG|@DIGEST]    tar of an OCI image layout",
  "  docker-archive:FILE[:NAME[:TAG]]  what docker save and podman save write",
  "  containers-storage:NAME[:TAG]     image of podman or buildah on this machine (asks skopeo or podman)",
  "  dir:DIR                           directory that is the root file system (or skopeo's dir: layout)",
  "  tar:FILE                          archive of the root: plain, gzip or zstd; - is standard input",
];

/** Of commands that may speak to a registry. */
export const registryFlags = {
  authfile: text(
    "File with credentials for registries (default: REGISTRY_AUTH_FILE, else where podman and Docker keep them)",
    "FILE",
  ),
  tlsVerify: {
    kind: "boolean",
    brief:
      "Check the certificates of registries; without, plain http is spoken too (default: registries.conf, else yes)",
    optional: true,
  },
  retryTimes: {
    kind: "parsed",
    parse: parseRetryTimes,
    brief: "Further attempts where a registry fails for the moment (default: 4)",
    placeholder: "N",
    optional: true,
  },
} as const;

/** Of commands that read whole blobs, and may read the same ones again. */
export const cacheFlag = {
  kind: "boolean",
  brief: "Keep layers from registries in XDG_CACHE_HOME/ashlar, and take them from there",
  default: true,
} as const;

/** The values of {@link registryFlags}. */
export interface RegistryFlags {
  readonly authfile?: string | undefined;
  readonly tlsVerify?: boolean | undefined;
  readonly retryTimes?: number | undefined;
}

/** Of commands that have {@link cacheFlag}. */
export interface CacheFlags {
  readonly cache: boolean;
}

/** Of commands that take a release in a repository. */
export const releaseFlags = {
  platform: text(
    "Architecture to choose where a name means several (default: linux/amd64, or the only one)",
    "OS/ARCH",
  ),
  ...registryFlags,
} as const;

/** The values of {@link releaseFlags}. */
export interface ReleaseFlags extends RegistryFlags {
  readonly platform?: string | undefined;
}

/** What makes a tree, for `build` and `seal` alike. */
export const inputFlags = {
  output: {
    kind: "parsed",
    parse: parsePath,
    brief: "Directory for the artifacts; made where missing",
    placeholder: "DIR",
  },
  name: {
    kind: "parsed",
    parse: parseStem,
    brief: "Stem of the artifacts' names (default: ID_VERSION)",
    placeholder: "STEM",
    optional: true,
  },
  platform: platform(
    "Platform to choose from an index; what dir: and tar: are for (default: linux/amd64; their programs say)",
  ),
  imageId: text("IMAGE_ID of the release (default: label org.opencontainers.image.title)", "ID"),
  imageVersion: text("IMAGE_VERSION of the release (default: label org.opencontainers.image.version)", "VERSION"),
  timestamp: {
    kind: "parsed",
    parse: parseTimestamp,
    brief: "Latest time in the root (default: SOURCE_DATE_EPOCH, else the image's creation, else the newest time)",
    placeholder: "TIME",
    optional: true,
  },
  salt: {
    kind: "parsed",
    parse: parseSalt,
    brief: "Salt of the hash tree, - for none; one for all releases of a product (default: from the image id)",
    placeholder: "HEX",
    optional: true,
  },
  tails: {
    kind: "enum",
    values: ["blocks", "inline", "ztailpacking", "fragments"],
    brief:
      "Ends of files in blocks of their own (small updates) or beside the inode (small image), those of compressed files too (ztailpacking: Linux 5.17) or compressed together (fragments: Linux 6.1)",
    default: "blocks",
  },
  compress: {
    kind: "parsed",
    parse: parseCompression,
    brief:
      "Compression of the root: none, lz4, lz4hc[,LEVEL] (slower, smaller), zstd[,LEVEL] (Linux 6.10 and later), or auto",
    placeholder: "METHOD",
    default: "none",
  },
  cluster: {
    kind: "parsed",
    parse: parseClusterSize,
    brief: "Bytes that are compressed into, 4096 to 1M (more than 4096: Linux 5.13 and later; default: 4096, zstd 64K)",
    placeholder: "BYTES",
    optional: true,
  },
  compressHints: {
    kind: "parsed",
    parse: parsePath,
    brief:
      "File of lines PATTERN METHOD [BYTES]: how files are compressed instead; the first pattern that matches decides",
    placeholder: "FILE",
    optional: true,
  },
  chunksize: {
    kind: "parsed",
    parse: parseChunkSize,
    brief:
      "Cut files into chunks, 4096 to 1M: holes take no space, equal chunks are stored once (Linux 5.15 and later; not compressed)",
    placeholder: "BYTES",
    optional: true,
  },
  dataFirst: {
    kind: "parsed",
    parse: parsePath,
    brief:
      "File of paths or patterns, one a line: their data comes first in the root, in this order (what a start reads)",
    placeholder: "FILE",
    optional: true,
  },
  targetKernel: {
    kind: "parsed",
    parse: parseKernel,
    brief:
      "Kernel that reads the root: a version, or auto, the oldest in the root; nothing is written that it cannot read",
    placeholder: "VERSION",
    default: "auto",
  },
  verify: {
    kind: "boolean",
    brief:
      "Read the root back and compare it with the input before anything is published (default: yes, but where a layer's files went straight into the root their places alone are compared)",
    optional: true,
  },
  selinux: {
    kind: "enum",
    values: ["policy", "none"],
    brief: "SELinux labels of files: by the image's own policy, where it has one, or none",
    default: "policy",
  },
  tmpdir: text(
    "Directory for temporary files, with room for the uncompressed layers (default: the output directory)",
    "DIR",
  ),
  ...registryFlags,
  cache: cacheFlag,
  workers: workersFlag,
  overwrite: { kind: "boolean", brief: "Replace artifacts that exist", default: false },
  json: jsonFlag,
  quiet: quietFlag,
} as const;

/** The values of {@link inputFlags} as a command gets them. */
export interface InputFlags extends ProgressFlags, RegistryFlags, CacheFlags {
  readonly output: string;
  readonly name?: string | undefined;
  readonly platform?: string | undefined;
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
  readonly timestamp?: bigint | undefined;
  readonly salt?: string | undefined;
  readonly tails: "blocks" | "inline" | "ztailpacking" | "fragments";
  readonly compress: string;
  readonly cluster?: number | undefined;
  readonly compressHints?: string | undefined;
  readonly chunksize?: number | undefined;
  readonly dataFirst?: string | undefined;
  readonly targetKernel: string;
  readonly verify?: boolean | undefined;
  readonly selinux: "policy" | "none";
  readonly tmpdir?: string | undefined;
  readonly workers?: number | undefined;
  readonly overwrite: boolean;
}

export interface OutputFlags {
  readonly json: boolean;
}

/** Of commands that take their time. */
export interface ProgressFlags extends OutputFlags {
  readonly quiet: boolean;
}
