import { buildCommand, buildRouteMap } from "@stricli/core";
import { parseFsverityBlockSize, parseFsveritySalt } from "../parse.ts";
import { jsonFlag, type OutputFlags, quietFlag, text, workersFlag } from "./flags.ts";

export const algorithmFlag = {
  kind: "enum",
  values: ["sha256", "sha512"],
  brief: "Hash algorithm",
  default: "sha256",
} as const;

const parameterFlags = {
  algorithm: algorithmFlag,
  blockSize: {
    kind: "parsed",
    parse: parseFsverityBlockSize,
    brief: "Block size of file and tree: a power of two from 1024 to 65536",
    placeholder: "BYTES",
    default: "4096",
  },
  salt: {
    kind: "parsed",
    parse: parseFsveritySalt,
    brief: "Salt of every block, up to 32 bytes (default: none)",
    placeholder: "HEX",
    optional: true,
  },
  workers: workersFlag,
} as const;

interface ParameterFlags extends OutputFlags {
  readonly algorithm: "sha256" | "sha512";
  readonly blockSize: number;
  readonly salt?: Uint8Array | undefined;
  readonly workers?: number | undefined;
  readonly quiet: boolean;
}

export interface FsverityDigestFlags extends ParameterFlags {
  readonly compact: boolean;
  readonly outMerkleTree?: string | undefined;
  readonly outDescriptor?: string | undefined;
  readonly overwrite: boolean;
}

export const fsverityDigestCommand = buildCommand({
  loader: async () => (await import("../run/fsverity.ts")).runFsverityDigest,
  parameters: {
    flags: {
      ...parameterFlags,
      compact: { kind: "boolean", brief: "The digest alone, in hexadecimal", default: false },
      outMerkleTree: text("Write the Merkle tree there (one FILE only)", "TREE"),
      outDescriptor: text("Write the descriptor there, the 256 bytes that are hashed (one FILE only)", "FILE"),
      overwrite: { kind: "boolean", brief: "Replace files that exist", default: false },
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "array",
      parameter: { brief: "File to measure", parse: String, placeholder: "FILE" },
      minimum: 1,
    },
  },
  docs: {
    brief: "Print the fs-verity digest of files",
    fullDescription: [
      "Computes what the kernel would measure, on any file system and without privileges.",
      "Prints lines as `fsverity digest` does.",
      "",
      "  ashlar fsverity digest usr/bin/*",
      "  ashlar fsverity digest --algorithm sha512 --compact image.cfs",
    ].join("\n"),
  },
});

export interface FsverityVerifyFlags extends ParameterFlags {
  readonly merkleTree?: string | undefined;
}

export const fsverityVerifyCommand = buildCommand({
  loader: async () => (await import("../run/fsverity.ts")).runFsverityVerify,
  parameters: {
    flags: {
      ...parameterFlags,
      merkleTree: text("Exported Merkle tree: then the first bad block is named", "TREE"),
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        {
          brief: "Wanted digest: hexadecimal, or with sha256: or sha512: in front",
          parse: String,
          placeholder: "DIGEST",
        },
        { brief: "File to check", parse: String, placeholder: "FILE" },
      ],
    },
  },
  docs: {
    brief: "Check a file against its fs-verity digest",
    fullDescription: [
      "Exit code 5 where the file is another one. A digest with an algorithm in front needs no --algorithm.",
      "",
      "  ashlar fsverity verify sha256:1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64 hello",
    ].join("\n"),
  },
});

export const fsverityRoutes = buildRouteMap({
  routes: { digest: fsverityDigestCommand, verify: fsverityVerifyCommand },
  docs: { brief: "Digests of single files, as the kernel's fs-verity computes them" },
});
