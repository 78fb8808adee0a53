/** Indexes, manifests and configs: bytes in, plain values out. Original bytes stay with whoever had them. */
import * as v from "valibot";
import { decodeUtf8Strict, oneLine } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type Digest, parseDigest } from "../../hash/index.ts";
import {
  type Compression,
  isConfigType,
  isForeignLayer,
  isIndexType,
  isManifestType,
  layerCompression,
  MAX_DOCUMENT_SIZE,
  MAX_LAYERS,
  OCI_INDEX,
  OCI_MANIFEST,
} from "./format.ts";

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** descriptor.md; what we have no use for is left out. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform?: Platform | undefined;
  /** Of the manifest behind it, where an index or a list of referrers says it. */
  readonly artifactType?: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Index {
  readonly mediaType: string | undefined;
  readonly manifests: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Layer extends Descriptor {
  readonly compression: Compression;
}

export interface Manifest {
  readonly mediaType: string | undefined;
  readonly config: Descriptor;
  /** The lowest first. */
  readonly layers: readonly Layer[];
  readonly annotations: Readonly<Record<string, string>>;
}

/** Any manifest: an image's, or that of an artifact such as a release or a signature (manifest.md). */
export interface ArtifactManifest {
  readonly mediaType: string | undefined;
  /** What the artifact is: its artifactType, else the media type of its config. */
  readonly artifactType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** The manifest that this one says something about. */
  readonly subject: Descriptor | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageConfig extends Platform {
  /** RFC 3339, as it is written. */
  readonly created: string | undefined;
  /** Digests of the uncompressed layers, in the order of the manifest's. */
  readonly diffIds: readonly Digest[];
  readonly labels: Readonly<Record<string, string>>;
}

const optionalText = v.nullish(v.string());
const Annotations = v.nullish(v.record(v.string(), v.string()));

const RawPlatform = v.looseObject({ os: v.string(), architecture: v.string(), variant: optionalText });

const RawDescriptor = v.looseObject({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  platform: v.nullish(RawPlatform),
  artifactType: optionalText,
  annotations: Annotations,
});
type RawDescriptor = v.InferOutput<typeof RawDescriptor>;

const RawIndex = v.looseObject({
  schemaVersion: v.literal(2),
  mediaType: optionalText,
  manifests: v.nullish(v.array(RawDescriptor)),
  annotations: Annotations,
});

const RawManifest = v.looseObject({
  schemaVersion: v.literal(2),
  mediaType: optionalText,
  artifactType: optionalText,
  config: RawDescriptor,
  layers: v.nullish(v.array(RawDescriptor)),
  subject: v.nullish(RawDescriptor),
  annotations: Annotations,
});

const RawConfig = v.looseObject({
  created: optionalText,
  architecture: v.string(),
  os: v.string(),
  variant: optionalText,
  config: v.nullish(v.looseObject({ Labels: v.nullish(v.record(v.string(), v.string())) })),
  rootfs: v.looseObject({ type: v.string(), diff_ids: v.nullish(v.array(v.string())) }),
});

/**
 * @param what names the document in errors, such as `index.json`
 * Errors: FormatError `bad-json`, `bad-index`, `bad-digest`, `too-large`; UnsupportedError `digest-algorithm`.
 */
export function parseIndex(bytes: Uint8Array, what: string): Index {
  const document = parseDocument(bytes, what);
  // One document that is an index to one reader and a manifest to another is the attack of CVE-2021-41190.
  refuse(document, ["config", "layers", "fsLayers"], "bad-index", `${what}: an index must not have`);
  const raw = checkDocument(RawIndex, document, "bad-index", what);
  assertMediaType(raw.mediaType, isIndexType, "bad-index", what);
  return {
    mediaType: raw.mediaType ?? undefined,
    manifests: (raw.manifests ?? []).map(descriptor),
    annotations: raw.annotations ?? {},
  };
}

/** A manifest, whatever it is of. Errors as {@link parseIndex}, with `bad-manifest`. */
export function parseArtifactManifest(bytes: Uint8Array, what: string): ArtifactManifest {
  const document = parseDocument(bytes, what);
  refuse(document, ["manifests", "fsLayers"], "bad-manifest", `${what}: a manifest must not have`);
  const raw = checkDocument(RawManifest, document, "bad-manifest", what);
  assertMediaType(raw.mediaType, isManifestType, "bad-manifest", what);
  const config = descriptor(raw.config);
  const layers = raw.layers ?? [];
  if (layers.length > MAX_LAYERS)
    throw new FormatError("too-large", `${what} has ${layers.length} layers, more than ${MAX_LAYERS}`);
  return {
    mediaType: raw.mediaType ?? undefined,
    artifactType: raw.artifactType ?? config.mediaType,
    config,
    layers: layers.map(descriptor),
    subject: raw.subject ? descriptor(raw.subject) : undefined,
    annotations: raw.annotations ?? {},
  };
}

/**
 * The manifest of an image. Errors as {@link parseArtifactManifest}; UnsupportedError `media-type` for what is no image
 * of ours, with media type and digest.
 */
export function parseManifest(bytes: Uint8Array, what: string): Manifest {
  const { mediaType, config, layers, annotations } = parseArtifactManifest(bytes, what);
  if (!isConfigType(config.mediaType))
    throw new UnsupportedError(
      "media-type",
      `${what}: not a container image: its config ${config.digest} has media type ${show(config.mediaType)}`,
    );
  const read = layers.map((layer, index) => parseLayer(layer, `${what}: layer ${index + 1}`));
  return { mediaType, config, layers: read, annotations };
}

function parseLayer(layer: Descriptor, what: string): Layer {
  const compression = layerCompression(layer.mediaType);
  if (compression === undefined) {
    const reason = isForeignLayer(layer.mediaType) ? "foreign layers are not supported" : "media type is not supported";
    throw new UnsupportedError("media-type", `${what} (${layer.digest}): ${reason}: ${show(layer.mediaType)}`);
  }
  return { ...layer, compression };
}

/** Errors as {@link parseIndex}, with `bad-config`. */
export function parseConfig(bytes: Uint8Array, what: string): ImageConfig {
  const raw = checkDocument(RawConfig, parseDocument(bytes, what), "bad-config", what);
  if (raw.rootfs.type !== "layers")
    throw new UnsupportedError("rootfs-type", `${what}: rootfs type ${show(raw.rootfs.type)} is not supported`);
  return {
    os: raw.os,
    architecture: raw.architecture,
    variant: raw.variant ?? undefined,
    created: raw.created ?? undefined,
    diffIds: (raw.rootfs.diff_ids ?? []).map(parseDigest),
    labels: raw.config?.Labels ?? {},
  };
}

/** JSON, strictly UTF-8, of at most {@link MAX_DOCUMENT_SIZE} bytes. Errors: FormatError `bad-json`, `too-large`. */
export function parseDocument(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > MAX_DOCUMENT_SIZE)
    throw new FormatError("too-large", `${what} has ${bytes.length} bytes, more than ${MAX_DOCUMENT_SIZE}`, {
      expected: MAX_DOCUMENT_SIZE,
      actual: bytes.length,
    });
  const text = decodeUtf8Strict(bytes);
  if (text === undefined) throw new FormatError("bad-json", `${what} is not UTF-8`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError("bad-json", `${what} is not JSON`, { cause }); // the parser's message quotes the input
  }
}

/**
 * What a manifest or index says that it is, or, where it does not (OCI allows that), what its shape says. Errors:
 * FormatError `bad-json`, `bad-manifest`, `too-large`; UnsupportedError `media-type`.
 */
export function documentMediaType(bytes: Uint8Array, what: string): string {
  const document = parseDocument(bytes, what);
  const object = (typeof document === "object" && document !== null ? document : {}) as Record<string, unknown>;
  const mediaType = object["mediaType"];
  if (typeof mediaType === "string") {
    if (isIndexType(mediaType) || isManifestType(mediaType)) return mediaType;
    throw new UnsupportedError("media-type", `${what}: media type ${show(mediaType)} is not supported`);
  }
  if (object["schemaVersion"] === 1)
    throw new UnsupportedError("media-type", `${what}: a manifest of Docker schema 1 is not supported`);
  if (Array.isArray(object["manifests"])) return OCI_INDEX;
  if (typeof object["config"] === "object") return OCI_MANIFEST;
  throw new FormatError("bad-manifest", `${what}: is neither a manifest nor an index`);
}

/** Throws FormatError `code` with the first thing that is not as the schema says. */
export function checkDocument<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  code: string,
  what: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue);
  throw new FormatError(
    code,
    `${what}: ${oneLine(path ?? "document")}: expected ${issue.expected}, got ${show(issue.received)}`,
  );
}

function refuse(document: unknown, keys: readonly string[], code: string, message: string): void {
  for (const key of keys)
    if (typeof document === "object" && document !== null && Object.hasOwn(document, key))
      throw new FormatError(code, `${message} ${JSON.stringify(key)}`);
}

function assertMediaType(
  mediaType: string | null | undefined,
  isRight: (mediaType: string) => boolean,
  code: string,
  what: string,
): void {
  if (mediaType !== null && mediaType !== undefined && !isRight(mediaType))
    throw new FormatError(code, `${what}: media type inside is ${show(mediaType)}`);
}

function descriptor(raw: RawDescriptor): Descriptor {
  return {
    mediaType: raw.mediaType,
    digest: parseDigest(raw.digest),
    size: raw.size,
    platform: raw.platform ? { ...raw.platform, variant: raw.platform.variant ?? undefined } : undefined,
    ...(raw.artifactType ? { artifactType: raw.artifactType } : {}),
    annotations: raw.annotations ?? {},
  };
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}
