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
import type { Digest, Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { openArchiveTree } from "../image/archive.ts";
import { type HostFiles, type Image, openImage, type Reference } from "../image/index.ts";
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
  environment: { readonly hashes: Hashes; readonly files: HostFiles },
  options: InspectImageOptions = {},
): Promise<ImageReport> {
  const index = await readTopIndex(reference, environment, options);
  const problems: Problem[] = [];
  let described: ImageReport["image"] = null;
  let store = `${reference.transport}:${reference.path}`;
  try {
    const image = await openImage(reference, environment, options);
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

/** The index that a reference means, or null where it means one image. */
async function readTopIndex(
  reference: Reference,
  { hashes, files }: { readonly hashes: Hashes; readonly files: HostFiles },
  options: ReadOptions,
): Promise<ImageReport["index"]> {
  const { transport, path } = reference;
  if (transport !== "oci" && transport !== "oci-archive") return null;
  const name = `${transport}:${path}`;
  const tree =
    transport === "oci"
      ? await files.openDirectory(path)
      : await openArchiveTree(await files.openFile(path), name, options);
  const store: ImageStore = await openLayout(tree, name, options);
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
