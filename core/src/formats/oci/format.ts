/**
 * Media types, annotations and limits of OCI images.
 * Spec: OCI image-spec 1.1 (media-types.md, manifest.md, image-index.md, config.md, image-layout.md) and Docker
 * "Image Manifest V2, Schema 2".
 */

export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";

const INDEX_TYPES = [OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"] as const;

const MANIFEST_TYPES = [OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"] as const;

const CONFIG_TYPES = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
] as const;

export type Compression = "none" | "gzip" | "zstd";

const LAYER_TYPES: ReadonlyMap<string, Compression> = /* @__PURE__ */ new Map<string, Compression>([
  ["application/vnd.oci.image.layer.v1.tar", "none"],
  ["application/vnd.oci.image.layer.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar", "none"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"],
]);

export function isIndexType(mediaType: string): boolean {
  return (INDEX_TYPES as readonly string[]).includes(mediaType);
}

export function isManifestType(mediaType: string): boolean {
  return (MANIFEST_TYPES as readonly string[]).includes(mediaType);
}

/** What a registry keeps among its manifests, rather than among its blobs. */
export const DOCUMENT_TYPES: readonly string[] = /* @__PURE__ */ [...MANIFEST_TYPES, ...INDEX_TYPES];

export function isDocumentType(mediaType: string): boolean {
  return DOCUMENT_TYPES.includes(mediaType);
}

export function isConfigType(mediaType: string): boolean {
  return (CONFIG_TYPES as readonly string[]).includes(mediaType);
}

/** How a layer is compressed; undefined for a media type that is no layer of ours. */
export function layerCompression(mediaType: string): Compression | undefined {
  return LAYER_TYPES.get(mediaType);
}

/** Layers whose bytes are elsewhere and need not be in the registry; image-spec has deprecated them. */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.includes(".nondistributable.") || mediaType.includes(".rootfs.foreign.");
}

/** In `index.json`: the tag of a manifest. */
export const REF_NAME = "org.opencontainers.image.ref.name";

export const LAYOUT_VERSION = "1.0.0";

/** Bytes of an index, manifest or config; registries hold manifests to the same (distribution-spec). */
export const MAX_DOCUMENT_SIZE = 4 * 1024 * 1024;
/** Indexes within indexes. */
export const MAX_INDEX_DEPTH = 4;
export const MAX_LAYERS = 1024;
