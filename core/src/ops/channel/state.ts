/**
 * One state of a channel is one manifest: every root from the first, then timestamp, snapshot and targets, a layer each.
 * So a channel moves from one whole state to the next by moving one tag, and nobody ever meets half of one.
 */
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, PolicyError, SourceError } from "../../errors/index.ts";
import {
  type ArtifactManifest,
  type Descriptor,
  OCI_MANIFEST,
  parseArtifactManifest,
  type Repository,
  readBlob,
  type Selector,
} from "../../formats/oci/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import { bytesSource, type ReadOptions } from "../../source/index.ts";
import {
  CHANNEL_ARTIFACT_TYPE,
  EMPTY_CONFIG_TYPE,
  isRole,
  MAX_METADATA_SIZE,
  MAX_ROOTS,
  metadataType,
  ROLES,
  type Role,
} from "./format.ts";
import { type Metadata, parseMetadata } from "./metadata.ts";

export interface ChannelDocuments {
  /** Ascending without a gap; the last is the one in force. Begins with version 1 unless a reader asked for less. */
  readonly roots: readonly [Metadata<"root">, ...Metadata<"root">[]];
  readonly timestamp: Metadata<"timestamp">;
  readonly snapshot: Metadata<"snapshot">;
  readonly targets: Metadata<"targets">;
}

export interface ChannelState extends ChannelDocuments {
  /** Of the manifest. */
  readonly digest: Digest;
}

export interface ReadChannelOptions extends ReadOptions {
  /** Version of the first root that is wanted; those before are not fetched. */
  readonly fromRoot?: number | undefined;
}

const TITLE = "org.opencontainers.image.title";
const EMPTY_CONFIG = /* @__PURE__ */ encodeUtf8("{}");

/** Documents fetched at once. */
const PARALLEL = 8;

export function isChannel(manifest: ArtifactManifest): boolean {
  return manifest.artifactType === CHANNEL_ARTIFACT_TYPE;
}

/**
 * The state that `selector` means: whole and well-formed, but not verified. Errors: PolicyError `not-a-channel`,
 * `channel-incomplete`; FormatError `bad-metadata`, `too-large`, those of manifests; IntegrityError where a blob is not
 * the one that the manifest names; whatever the repository throws.
 */
export async function readChannel(
  repository: Repository,
  selector: Selector,
  hashes: Hashes,
  options: ReadChannelOptions = {},
): Promise<ChannelState> {
  const descriptor = await repository.resolve(selector, options);
  const what = `${repository.name}: channel`;
  if (descriptor.mediaType !== OCI_MANIFEST) throw notChannel(what, descriptor.mediaType);
  const bytes = await readBlob(repository, descriptor, hashes, what, options);
  const documents = await readDocuments(repository, parseArtifactManifest(bytes, what), hashes, what, options);
  return { digest: descriptor.digest, ...documents };
}

function notChannel(what: string, found: string): Error {
  return new PolicyError("not-a-channel", `${what}: the tag holds ${JSON.stringify(found.slice(0, 120))}, no channel`, {
    expected: CHANNEL_ARTIFACT_TYPE,
    actual: found,
  });
}

/** The documents of a channel's manifest. Errors as {@link readChannel}. */
export async function readDocuments(
  repository: Repository,
  manifest: ArtifactManifest,
  hashes: Hashes,
  what: string,
  options: ReadChannelOptions = {},
): Promise<ChannelDocuments> {
  if (!isChannel(manifest)) throw notChannel(what, manifest.artifactType);
  const layers = layersByRole(manifest, what);
  const from = Math.min(options.fromRoot ?? 1, layers.root.length);
  async function read<R extends Role>(role: R, layer: Descriptor, name: string = role): Promise<Metadata<R>> {
    const bytes = await readBlob(repository, layer, hashes, `${what}: ${name}`, options);
    return parseMetadata(role, bytes, hashes, `${what}: ${name}`);
  }
  const roots: Metadata<"root">[] = [];
  for (let at = from - 1; at < layers.root.length; at += PARALLEL)
    roots.push(
      ...(await Promise.all(
        layers.root.slice(at, at + PARALLEL).map((layer, i) => read("root", layer, `root ${at + i + 1}`)),
      )),
    );
  roots.forEach((root, i) => {
    if (root.signed.version !== from + i)
      throw new PolicyError("channel-incomplete", `${what}: root ${from + i} has version ${root.signed.version}`, {
        expected: from + i,
        actual: root.signed.version,
      });
  });
  const [timestamp, snapshot, targets] = await Promise.all([
    read("timestamp", layers.timestamp),
    read("snapshot", layers.snapshot),
    read("targets", layers.targets),
  ]);
  const [first, ...rest] = roots as [Metadata<"root">, ...Metadata<"root">[]]; // from <= layers.root.length
  return { roots: [first, ...rest], timestamp, snapshot, targets };
}

interface Layers {
  readonly root: readonly Descriptor[];
  readonly timestamp: Descriptor;
  readonly snapshot: Descriptor;
  readonly targets: Descriptor;
}

/** Sizes are bounded here, before anything is fetched: endless data ends at what the manifest says. */
function layersByRole(manifest: ArtifactManifest, what: string): Layers {
  const found = new Map<Role, Descriptor[]>(ROLES.map((role) => [role, []]));
  for (const layer of manifest.layers) {
    const role = /^application\/vnd\.ashlar\.channel\.([a-z]+)\.v1\+json$/.exec(layer.mediaType)?.[1] ?? "";
    if (!isRole(role)) continue; // of a later Ashlar
    if (layer.size > MAX_METADATA_SIZE[role])
      throw new FormatError(
        "too-large",
        `${what}: ${role} has ${layer.size} bytes, more than ${MAX_METADATA_SIZE[role]}`,
        {
          expected: MAX_METADATA_SIZE[role],
          actual: layer.size,
        },
      );
    found.get(role)?.push(layer);
  }
  const root = found.get("root") ?? [];
  if (root.length > MAX_ROOTS)
    throw new FormatError("too-large", `${what}: has ${root.length} roots, more than ${MAX_ROOTS}`);
  if (root.length === 0) throw incomplete(what, "root", 0);
  const only = (role: Role): Descriptor => {
    const [layer, ...more] = found.get(role) ?? [];
    if (layer === undefined || more.length > 0) throw incomplete(what, role, more.length + (layer ? 1 : 0));
    return layer;
  };
  return { root, timestamp: only("timestamp"), snapshot: only("snapshot"), targets: only("targets") };
}

function incomplete(what: string, role: Role, count: number): Error {
  const message = `${what}: the state has ${count} documents of the role ${role}, not ${role === "root" ? "one or more" : "one"}`;
  return new PolicyError("channel-incomplete", message);
}

interface Blob {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

function blobOf(mediaType: string, bytes: Uint8Array, hashes: Hashes, title?: string): Blob {
  const annotations: Record<string, string> = title === undefined ? {} : { [TITLE]: title };
  return { descriptor: { mediaType, digest: digestOf(hashes, bytes), size: bytes.length, annotations }, bytes };
}

/** Titles are the file names of a TUF repository, so that a plain artifact client unpacks one. */
function blobsOf({ roots, timestamp, snapshot, targets }: ChannelDocuments, hashes: Hashes): Blob[] {
  const layer = ({ role, bytes }: Metadata, title: string): Blob => blobOf(metadataType(role), bytes, hashes, title);
  return [
    ...roots.map((root) => layer(root, `${root.signed.version}.root.json`)),
    layer(timestamp, "timestamp.json"),
    layer(snapshot, `${snapshot.signed.version}.snapshot.json`),
    layer(targets, `${targets.signed.version}.targets.json`),
  ];
}

export interface WriteChannelOptions extends ReadOptions {
  /** Digest of the manifest that the tag must still hold; undefined: there must be none. */
  readonly replaces: Digest | undefined;
}

/**
 * Stores a state and moves the tag to it. Where the tag has moved since `replaces` was read: SourceError
 * `channel-moved`, nothing is changed. Registries cannot compare and set a tag: between the last look and the move a
 * second writer can come. The tag is therefore read once more afterwards, and a lost race is the same error.
 */
export async function writeChannel(
  repository: Repository,
  documents: ChannelDocuments,
  tag: string,
  hashes: Hashes,
  options: WriteChannelOptions,
): Promise<Digest> {
  const config = blobOf(EMPTY_CONFIG_TYPE, EMPTY_CONFIG, hashes);
  const layers = blobsOf(documents, hashes);
  for (const { descriptor, bytes } of [config, ...layers])
    await repository.putBlob(descriptor, bytesSource(bytes), options);
  const written = ({ descriptor: { mediaType, digest, size, annotations } }: Blob) =>
    Object.keys(annotations).length === 0 ? { mediaType, digest, size } : { mediaType, digest, size, annotations };
  const root = documents.roots.at(-1) ?? documents.roots[0];
  const bytes = encodeUtf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: CHANNEL_ARTIFACT_TYPE,
      config: written(config),
      layers: layers.map(written),
      annotations: { [TITLE]: `${root.signed.ashlar.product} ${root.signed.ashlar.name}` },
    }),
  );
  const manifest = blobOf(OCI_MANIFEST, bytes, hashes).descriptor;
  assertUnmoved(await tagDigest(repository, tag, options), options.replaces, repository, tag);
  await repository.putManifest(manifest, bytes, tag, options);
  assertUnmoved(await tagDigest(repository, tag, options), manifest.digest, repository, tag);
  return manifest.digest;
}

/** No tag of that name; a layout that is yet to be made. */
const NOTHING_THERE = ["no-such-image", "not-a-layout"];

/** What the tag holds; undefined where it is not there. */
export async function tagDigest(
  repository: Repository,
  tag: string,
  options: ReadOptions = {},
): Promise<Digest | undefined> {
  try {
    return (await repository.resolve({ tag }, options)).digest;
  } catch (error) {
    // Only a plain "there is no such tag" counts: a registry that fails or refuses is no empty one.
    if (error instanceof SourceError && NOTHING_THERE.includes(error.code)) return undefined;
    throw error;
  }
}

function assertUnmoved(actual: Digest | undefined, expected: Digest | undefined, repository: Repository, tag: string) {
  if (actual === expected) return;
  throw new SourceError(
    "channel-moved",
    `${repository.name}: tag ${tag} was changed by somebody else: it holds ${actual ?? "nothing"}, expected ${expected ?? "nothing"}`,
    { expected, actual },
  );
}
