/**
 * `manifest.json` of the archives that `docker save`, `podman save` and skopeo write: which member is the config, which
 * are the layers, by path. Spec: moby, image/spec/spec.md, "Combined Image JSON + Filesystem Changeset Format".
 */
import * as v from "valibot";
import { oneLine } from "../../bytes/index.ts";
import { FormatError, SourceError } from "../../errors/index.ts";
import type { Digest } from "../../hash/index.ts";
import { type Compression, MAX_LAYERS } from "./format.ts";
import { checkDocument, parseDocument } from "./read.ts";

/** One image of an archive. Paths are members of the archive. */
export interface DockerImage {
  readonly config: string;
  /** Such as `docker.io/library/debian:trixie`; none for an image without a name. */
  readonly repoTags: readonly string[];
  /** The lowest first. */
  readonly layers: readonly string[];
}

const RawImages = v.array(
  v.looseObject({
    Config: v.pipe(v.string(), v.nonEmpty()),
    RepoTags: v.nullish(v.array(v.string())),
    Layers: v.nullish(v.array(v.pipe(v.string(), v.nonEmpty()))),
  }),
);

/** Errors: FormatError `bad-json`, `bad-manifest`, `too-large`. @param what names the document in errors */
export function parseDockerManifest(bytes: Uint8Array, what: string): DockerImage[] {
  const raw = checkDocument(RawImages, parseDocument(bytes, what), "bad-manifest", what);
  return raw.map(({ Config, RepoTags, Layers }) => {
    const layers = Layers ?? [];
    if (layers.length > MAX_LAYERS)
      throw new FormatError("too-large", `${what}: an image has ${layers.length} layers, more than ${MAX_LAYERS}`);
    return { config: Config, repoTags: RepoTags ?? [], layers };
  });
}

/**
 * A name in full, as containers/image and Docker complete it: `debian` is `docker.io/library/debian:latest`. podman
 * writes full names, docker short ones, and people type either.
 */
export function fullName(name: string): string {
  const slash = name.indexOf("/");
  const host = slash < 0 ? "" : name.slice(0, slash);
  const hasHost = host.includes(".") || host.includes(":") || host === "localhost";
  const path = hasHost ? name : `docker.io/${slash < 0 ? "library/" : ""}${name}`;
  return path.lastIndexOf(":") > path.lastIndexOf("/") ? path : `${path}:latest`;
}

/** Whether a name that somebody gave means `repoTag`: in full, without host and path, without tag, or the tag alone. */
function isNamed(repoTag: string, wanted: string): boolean {
  const full = fullName(repoTag);
  const repository = full.slice(0, full.lastIndexOf(":"));
  return (
    full === fullName(wanted) ||
    full.endsWith(`/${wanted}`) ||
    `/${repository}`.endsWith(`/${wanted}`) ||
    full === `${repository}:${wanted}`
  );
}

/** The only image with that name, or the only one. Errors: SourceError `no-such-image`, `ambiguous-image`. */
export function selectDockerImage(
  images: readonly DockerImage[],
  wanted: string | undefined,
  archive: string,
): DockerImage {
  const tags = images.flatMap(({ repoTags }) => repoTags);
  const shown = tags.slice(0, 20).map(oneLine).join(", ");
  const known = tags.length === 0 ? "it has no tags" : `it has ${shown}`;
  const matching = images.filter(
    ({ repoTags }) => wanted === undefined || repoTags.some((repoTag) => isNamed(repoTag, wanted)),
  );
  const [first] = matching;
  if (first === undefined)
    throw new SourceError(
      "no-such-image",
      `${archive}: no ${wanted === undefined ? "image" : JSON.stringify(wanted)}; ${known}`,
      { path: archive },
    );
  if (matching.some(({ config }) => config !== first.config))
    throw new SourceError("ambiguous-image", `${archive}: ${matching.length} images; ${known}`, { path: archive });
  return first;
}

/** The image id in a member's name: `HEX.json` or `blobs/sha256/HEX`. Undefined where the name promises nothing. */
export function idInName(path: string): Digest | undefined {
  const hex = /^(?:(?:\.\/)?blobs\/sha256\/|(?:\.\/)?)([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
  return hex === undefined ? undefined : `sha256:${hex}`;
}

/** What people compress archives with and no layer may be; known, so that an error can name it. */
const FOREIGN = ["xz", "bzip2", "lz4", "lzip", "compress"] as const;
export type ForeignCompression = (typeof FOREIGN)[number];

/** An undefined byte may be any. Where a plain tar may begin with such letters, bytes that no name has are among them. */
const MAGICS: readonly (readonly [Compression | ForeignCompression, readonly (number | undefined)[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["zstd", [0x50, 0x2a, 0x4d, 0x18]], // a skippable frame first, as of zstd:chunked and pzstd
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["bzip2", [0x42, 0x5a, 0x68, undefined, 0x31, 0x41, 0x59, 0x26]], // "BZh", level, π
  ["bzip2", [0x42, 0x5a, 0x68, undefined, 0x17, 0x72, 0x45, 0x38]], // of nothing
  ["lz4", [0x04, 0x22, 0x4d, 0x18]],
  ["lzip", [0x4c, 0x5a, 0x49, 0x50, 0x01]],
  ["compress", [0x1f, 0x9d]],
];

/** Bytes that {@link compressionOf} looks at. */
export const MAGIC_SIZE = 8;

/** By the first bytes, where nothing else says it. What is none of these is `none`. */
export function compressionOf(start: Uint8Array): Compression | ForeignCompression {
  const fits = (magic: readonly (number | undefined)[]) =>
    magic.every((byte, index) => byte === undefined || start[index] === byte);
  return MAGICS.find(([, magic]) => fits(magic))?.[0] ?? "none";
}

export function isForeign(compression: Compression | ForeignCompression): compression is ForeignCompression {
  return (FOREIGN as readonly string[]).includes(compression);
}
