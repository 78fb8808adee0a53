/** Media types and annotations of a release in a repository; docs/releases-in-registries.md is their specification. */

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

/** artifactType of the manifest, and media type of its config: the bytes of release.json. */
export const RELEASE_TYPE = "application/vnd.ashlar.release.v1+json";
export const RECIPE_TYPE = "application/vnd.ashlar.root.recipe.v1";
/** Levels of the hash tree above the leaves, the top first. */
export const TREE_TYPE = "application/vnd.ashlar.root.tree.v1";
export const PACK_TYPE = "application/vnd.ashlar.pack.v1+zstd";
/** A section of a UKI, as it is. */
export const SECTION_TYPE = "application/vnd.ashlar.uki.section.v1";
/** The same in zstd frames of 1 MiB of content each; annotations say what it is. */
export const SECTION_FRAMES_TYPE = "application/vnd.ashlar.uki.section.v1+zstd";
/** How a section is made from the root; one zstd frame. */
export const SECTION_RECIPE_TYPE = "application/vnd.ashlar.uki.section.recipe.v1+zstd";
export const ASSEMBLY_TYPE = "application/vnd.ashlar.assembly.v1+json";
/** Bytes of artifacts that are nothing else; one zstd frame. */
export const LITERALS_TYPE = "application/vnd.ashlar.literals.v1+zstd";

export const ANNOTATION_TITLE = "org.opencontainers.image.title";
export const ANNOTATION_VERSION = "org.opencontainers.image.version";
export const ANNOTATION_CREATED = "org.opencontainers.image.created";
export const ANNOTATION_ROOT_HASH = "vnd.ashlar.root-hash";
/** The container image that the release was made from: its manifest, and the index that this was chosen from. */
export const ANNOTATION_SOURCE_MANIFEST = "vnd.ashlar.source.manifest";
export const ANNOTATION_SOURCE_INDEX = "vnd.ashlar.source.index";
/** Of a section's layer: its name in the UKI, such as `.linux`. */
export const ANNOTATION_SECTION = "vnd.ashlar.uki.section";
/** Of a section's recipe and of a section in frames: the digest of the section. */
export const ANNOTATION_SECTION_DIGEST = "vnd.ashlar.uki.section.digest";
/** Of a section in frames: its bytes, and those of each frame as it is stored, with commas between. */
export const ANNOTATION_SECTION_SIZE = "vnd.ashlar.uki.section.size";
export const ANNOTATION_SECTION_FRAMES = "vnd.ashlar.uki.section.frames";
