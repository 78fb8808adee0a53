/** `STEM.release.json`: what one build yields, in a versioned schema. docs/formats.md describes it for readers. */
import * as v from "valibot";
import { decodeUtf8Strict, encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";

export const RELEASE_SCHEMA = "ashlar.release/v1";

/**
 * Names the rules by which input becomes bytes. A change that moves a byte of any artifact for the same input and
 * options is a new format version, with its own changelog entry.
 */
export const FORMAT_VERSION = 1;

/** Bytes; a release.json is a few kilobytes. */
export const MAX_RELEASE_SIZE = 1024 * 1024;

const DigestText = v.pipe(v.string(), v.regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/, "is not a digest"));
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** Bytes; what dm-verity takes. */
const BlockSize = v.pipe(
  Count,
  v.check((size) => size >= 512 && size <= 524288 && Number.isInteger(Math.log2(size)), "is not a block size"),
);
/** A plain file name: artifacts lie beside the release. */
const FileName = v.pipe(v.string(), v.regex(/^[^/\0]+$/, "is not a file name"), v.notValues([".", ".."]));

const ROLES = ["disk", "root", "root-verity", "uki"] as const;
const isKnownRole = (role: string): boolean => (ROLES as readonly string[]).includes(role);
const isUnique = (values: readonly string[]): boolean => new Set(values).size === values.length;

const ArtifactEntry = v.object({
  /** `disk`, `root` (data device), `root-verity` (hash device), `uki`. Readers ignore roles they do not know. */
  role: v.string(),
  name: FileName,
  /** Bytes. */
  size: Count,
  digest: DigestText,
});

/** A thing the result depends on. */
const InputEntry = v.object({ name: v.string(), digest: DigestText });

export const ReleaseSchema = v.object({
  schema: v.literal(RELEASE_SCHEMA),
  formatVersion: Count,
  imageId: v.optional(v.string()),
  imageVersion: v.optional(v.string()),
  /** OCI's name: `amd64`, `arm64`. Absent for sealed content that is no system. */
  architecture: v.optional(v.string()),
  kernelVersion: v.optional(v.string()),
  /** Of the hash tree, lower-case hexadecimal. */
  rootHash: v.pipe(v.string(), v.regex(/^([0-9a-f]{64}|[0-9a-f]{128})$/, "is not a sha256 or sha512 root hash")),
  verity: v.object({
    algorithm: v.picklist(["sha256", "sha512"]),
    salt: v.pipe(v.string(), v.regex(/^([0-9a-f]{2}){0,256}$/, "is not a salt of up to 256 bytes in hexadecimal")),
    uuid: v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "is not a UUID")),
    /** Bytes. */
    dataBlockSize: BlockSize,
    /** Bytes. */
    hashBlockSize: BlockSize,
    dataBlocks: Count,
  }),
  commandLine: v.optional(v.string()),
  inputs: v.array(InputEntry),
  /** Every option that shapes the bytes, as given or by default. */
  options: v.record(v.string(), v.union([v.string(), v.number(), v.boolean(), v.array(v.string())])),
  artifacts: v.pipe(
    v.array(ArtifactEntry),
    v.check((all) => isUnique(all.map(({ name }) => name)), "two artifacts have one name"),
    v.check((all) => isUnique(all.map(({ role }) => role).filter(isKnownRole)), "two artifacts have one role"),
  ),
});

/** Options that shape the root. */
const ROOT_OPTIONS = [
  "tails",
  "compress",
  "cluster",
  "packing",
  "compressHints",
  "chunksize",
  "dataFirst",
  "selinux",
] as const;
/** Every option that builds record. `reproduce` must be able to give each to a build again. */
export const BUILD_OPTIONS = [
  "timestamp",
  "etc",
  "rootTimeout",
  ...ROOT_OPTIONS,
  "kargs",
  "espSize",
  "slotSize",
  "varSize",
  "sectorSize",
] as const;
/** The same of `seal`. */
export const SEAL_OPTIONS = ["timestamp", ...ROOT_OPTIONS] as const;

/** Options under these names alone. */
export type RecordedOptions<Name extends string> = Partial<Record<Name, Release["options"][string]>>;

export type Release = v.InferOutput<typeof ReleaseSchema>;
export type ArtifactRole = (typeof ROLES)[number];

/** The bytes of the file: two-space JSON with a final newline, keys in the order of the schema. */
export function encodeRelease(release: Release): Uint8Array {
  return encodeUtf8(`${JSON.stringify(release, null, 2)}\n`);
}

/** @param what names the file in errors. Throws FormatError `bad-release`, UnsupportedError `release-schema`. */
export function parseRelease(bytes: Uint8Array, what: string): Release {
  const text = decodeUtf8Strict(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch (cause) {
    throw new FormatError("bad-release", `${what}: is not JSON`, { path: what, cause });
  }
  const schema = (value as { schema?: unknown } | null)?.schema;
  if (typeof schema === "string" && schema.startsWith("ashlar.release/") && schema !== RELEASE_SCHEMA)
    throw new UnsupportedError(
      "release-schema",
      `${what}: schema ${JSON.stringify(schema)} is newer than this Ashlar`,
      {
        path: what,
        expected: RELEASE_SCHEMA,
        actual: schema,
      },
    );
  const result = v.safeParse(ReleaseSchema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new FormatError(
    "bad-release",
    `${what}: ${oneLine(v.getDotPath(issue) ?? "value")}: ${oneLine(issue.message)}`,
    { path: what },
  );
}

/** The artifact with this role. */
export function artifactOf(release: Release, role: ArtifactRole): Release["artifacts"][number] | undefined {
  return release.artifacts.find((artifact) => artifact.role === role);
}
