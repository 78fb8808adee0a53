/** From a reference to an image whose manifest and configuration are read and verified. */
import { FormatError, SourceError } from "../../errors/index.ts";
import {
  type BlobStore,
  type ClosableSource,
  type FileTree,
  formatPlatform,
  type ImageConfig,
  type ImageStore,
  type Layer,
  type Manifest,
  matchesPlatform,
  openLayout,
  type Platform,
  parseConfig,
  readBlob,
  readManifest,
} from "../../formats/oci/index.ts";
import type { Digest, Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { openArchiveTree } from "./archive.ts";
import type { Reference } from "./reference.ts";

/** Access to the host's files, by the paths that people give. Errors: SourceError `not-found` and the like. */
export interface HostFiles {
  openFile(path: string): Promise<ClosableSource>;
  openDirectory(path: string): Promise<FileTree>;
}

export interface OpenImageEnvironment {
  readonly hashes: Hashes;
  readonly files: HostFiles;
}

export interface OpenImageOptions extends ReadOptions {
  /**
   * Chosen from an index; where it is given, the configuration must agree. Default: linux/amd64 from an index, and
   * whatever there is where there is only one.
   */
  readonly platform?: Platform | undefined;
}

export interface ImageLayer extends Layer {
  /** Digest of the uncompressed layer. */
  readonly diffId: Digest;
}

export interface Image {
  /** For people: the store, such as `oci:/srv/image`. */
  readonly name: string;
  readonly manifestDigest: Digest;
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** The lowest first. */
  readonly layers: readonly ImageLayer[];
  readonly store: BlobStore;
  close(): Promise<void>;
}

const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/**
 * Opens what the reference means. Errors: those of the store (`not-found`, `not-a-layout`, `no-such-image`,
 * `ambiguous-image`, `no-such-platform`, `no-blob`), of its documents (`bad-json`, `bad-index`, `bad-manifest`,
 * `bad-config`, `media-type`, `layer-count`) and IntegrityError `digest-mismatch`, `size-mismatch`.
 */
export async function openImage(
  reference: Reference,
  environment: OpenImageEnvironment,
  options: OpenImageOptions = {},
): Promise<Image> {
  const store = await openStore(reference, environment.files, options);
  try {
    return await readImage(store, reference, environment.hashes, options);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openStore({ transport, path }: Reference, files: HostFiles, options: ReadOptions): Promise<ImageStore> {
  const name = `${transport}:${path}`;
  const tree =
    transport === "oci"
      ? await files.openDirectory(path)
      : await openArchiveTree(await files.openFile(path), name, options);
  return openLayout(tree, name, options);
}

async function readImage(
  store: ImageStore,
  reference: Reference,
  hashes: Hashes,
  options: OpenImageOptions,
): Promise<Image> {
  const start = await store.resolve(reference, options);
  const { descriptor, manifest, bytes } = await readManifest(
    store,
    start,
    options.platform ?? DEFAULT_PLATFORM,
    hashes,
    options,
  );
  const what = `${store.name}: config`;
  const configBytes = await readBlob(store, manifest.config, hashes, what, options);
  const config = parseConfig(configBytes, `${what} ${manifest.config.digest}`);
  if (options.platform !== undefined && !matchesPlatform(config, options.platform))
    throw new SourceError(
      "no-such-platform",
      `${store.name}: the image is for ${formatPlatform(config)}, not for ${formatPlatform(options.platform)}`,
    );
  if (config.diffIds.length !== manifest.layers.length)
    throw new FormatError(
      "layer-count",
      `${store.name}: the manifest has ${manifest.layers.length} layers, the config ${config.diffIds.length} diff_ids`,
      { expected: manifest.layers.length, actual: config.diffIds.length },
    );
  return {
    name: store.name,
    manifestDigest: descriptor.digest,
    manifestBytes: bytes,
    manifest,
    configBytes,
    config,
    layers: manifest.layers.map((layer, index) => ({ ...layer, diffId: config.diffIds[index]! })), // equal lengths
    store,
    close: () => store.close(),
  };
}
