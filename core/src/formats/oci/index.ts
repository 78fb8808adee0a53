export { isDirectoryTransport, openDirectoryTransport } from "./directory.ts";
export {
  compressionOf,
  type DockerImage,
  fullName,
  idInName,
  isForeign,
  MAGIC_SIZE,
  parseDockerManifest,
  selectDockerImage,
} from "./docker-archive.ts";
export {
  type Compression,
  DOCUMENT_TYPES,
  isDocumentType,
  isIndexType,
  isManifestType,
  MAX_DOCUMENT_SIZE,
  MAX_INDEX_DEPTH,
  MAX_LAYERS,
  OCI_INDEX,
  OCI_MANIFEST,
  REF_NAME,
} from "./format.ts";
export {
  blobPath,
  type ClosableSource,
  encodeLayoutFile,
  type FileTree,
  INDEX_FILE,
  LAYOUT_FILE,
  openLayout,
  openLayoutBlob,
  readLayoutIndex,
  resolveInLayout,
  sourceBlob,
} from "./layout.ts";
export {
  type ArtifactManifest,
  checkDocument,
  type Descriptor,
  documentMediaType,
  type ImageConfig,
  type Index,
  type Layer,
  type Manifest,
  type Platform,
  parseArtifactManifest,
  parseConfig,
  parseDocument,
  parseIndex,
  parseManifest,
} from "./read.ts";
export type { PutOptions, PutResult, ReferrersOptions, Repository } from "./repository.ts";
export { formatPlatform, matchesPlatform, parsePlatform, readManifest, type SelectedManifest } from "./select.ts";
export { type BlobStore, type BlobStream, type ImageStore, readBlob, type Selector, verifiedLength } from "./store.ts";
