/** An OCI image: the index with all platforms, and manifest, config and layers of one of them. */
import { isAshlarError } from "../../errors/index.ts";
import {
  type Descriptor,
  formatPlatform,
  type ImageStore,
  openLayout,
  type Platform,
  parseIndex,
  readBlob,
} from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { openArchiveTree } from "../image/archive.ts";
import {
  type Image,
  nameOf,
  type OpenImageEnvironment,
  openImage,
  openRepository,
  type Reference,
} from "../image/index.ts";
import type { Problem } from "./parts.ts";

export interface LayerReport {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Of the uncompressed layer. */
  readonly diffId: Digest;
  /** Bytes as stored. */
  readonly size: number;
  readonly compression: string;
}

export interface PlatformReport {
  /** `os/architecture[/variant]`; null for an entry that names none. */
  readonly platform: string | null;
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes of the manifest. */
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageReport {
  readonly kind: "oci-image";
  /** Where it is, such as `oci:/srv/image`. */
  readonly store: string;
  /** Of the index that the reference means; null for a single image. */
  readonly index: {
    readonly digest: Digest;
    readonly mediaType: string;
    readonly platforms: readonly PlatformReport[];
    readonly annotations: Readonly<Record<string, string>>;
  } | null;
  /** Null where an index has nothing for the platform that was asked for. */
  readonly image: {
    /** Of the manifest; of the config for an archive that has none. */
    readonly digest: Digest;
    readonly mediaType: string | null;
    readonly configDigest: Digest;
    readonly platform: string;
    /** As it is written. */
    readonly created: string | null;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly layers: readonly LayerReport[];
    /** Bytes of all layers as stored. */
    readonly layersSize: number;
  } | null;
  readonly problems: readonly Problem[];
}

export interface InspectImageOptions extends ReadOptions {
  readonly platform?: Platform | undefined;
}

export async function inspectImage(
  reference: Reference,
  environment: OpenImageEnvironment,
  options: InspectImageOptions = {},
): Promise<ImageReport> {
  const index = await readTopIndex(reference, environment, options);
  const problems: Problem[] = [];
  let described: ImageReport["image"] = null;
  let store = nameOf(reference);
  try {
    // A tag may move in between: what was found is what is described.
    const found = index === null ? reference : { ...reference, digest: index.digest };
    const image = await openImage(found, environment, options);
    store = image.name;
    described = describe(image);
    await image.close();
  } catch (error) {
    // An index without an image for this machine still has its platforms to show.
    if (index === null || !isAshlarError(error) || error.code !== "no-such-platform") throw error;
    problems.push({ code: error.code, message: error.message });
  }
  return { kind: "oci-image", store, index, image: described, problems };
}

function describe({ digest, manifest, config, configDigest, layers }: Image): NonNullable<ImageReport["image"]> {
  return {
    digest,
    mediaType: manifest?.mediaType ?? null,
    configDigest,
    platform: formatPlatform(config),
    created: config.created ?? null,
    labels: config.labels,
    annotations: manifest?.annotations ?? {},
    layers: layers.map(({ mediaType, digest, diffId, size, compression }) => ({
      mediaType,
      digest,
      diffId,
      size,
      compression,
    })),
    layersSize: layers.reduce((sum, { size }) => sum + size, 0),
  };
}

function isIndex({ mediaType }: Descriptor): boolean {
  return mediaType.includes(".image.index.") || mediaType.includes(".manifest.list.");
}

/** The store of a reference to something that may be an index. */
async function openStore(
  reference: Reference,
  environment: OpenImageEnvironment,
  options: ReadOptions,
): Promise<ImageStore | undefined> {
  const { transport, path } = reference;
  const { files } = environment;
  const name = nameOf(reference);
  if (transport === "docker") return openRepository(reference, environment);
  if (transport === "oci") return openLayout(await files.openDirectory(path), name, options);
  if (transport === "oci-archive")
    return openLayout(await openArchiveTree(await files.openFile(path), name, options), name, options);
  return undefined;
}

/** The index that a reference means, or null where it means one image. */
async function readTopIndex(
  reference: Reference,
  environment: OpenImageEnvironment,
  options: ReadOptions,
): Promise<ImageReport["index"]> {
  const { hashes } = environment;
  const store = await openStore(reference, environment, options);
  if (store === undefined) return null;
  const { name } = store;
  try {
    const top = await store.resolve(reference, options);
    if (!isIndex(top)) return null;
    const what = `${name}: index`;
    const { manifests, annotations } = parseIndex(await readBlob(store, top, hashes, what, options), what);
    return {
      digest: top.digest,
      mediaType: top.mediaType,
      annotations,
      platforms: manifests.map(({ platform, mediaType, digest, size, annotations }) => ({
        platform: platform === undefined ? null : formatPlatform(platform),
        mediaType,
        digest,
        size,
        annotations,
      })),
    };
  } finally {
    await store.close();
  }
}
