/** From a reference to an image whose manifest and configuration are read and verified. */
import { FormatError, IntegrityError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import {
  type BlobStore,
  type ClosableSource,
  compressionOf,
  type FileTree,
  formatPlatform,
  type ImageConfig,
  type ImageStore,
  idInName,
  isDirectoryTransport,
  isForeign,
  type Layer,
  MAGIC_SIZE,
  MAX_DOCUMENT_SIZE,
  type Manifest,
  matchesPlatform,
  openDirectoryTransport,
  openLayout,
  type Platform,
  parseConfig,
  parseDockerManifest,
  type Repository,
  readBlob,
  readManifest,
  selectDockerImage,
  sourceBlob,
} from "../../formats/oci/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import { type ReadOptions, readAll } from "../../source/index.ts";
import { parseRegistryReference, type RepositoryName } from "../registry/reference.ts";
import { openArchiveTree } from "./archive.ts";
import type { Reference } from "./reference.ts";

/** Access to the host's files, by the paths that people give. Errors: SourceError `not-found` and the like. */
export interface HostFiles {
  openFile(path: string): Promise<ClosableSource>;
  openDirectory(path: string): Promise<FileTree>;
}

/** Registries as the host knows them: with its credentials, certificates and mirrors. */
export interface HostRegistries {
  /** Nothing is sent before the first call. */
  open(name: RepositoryName): Promise<Repository>;
}

/** What is about to be used. */
export interface Candidate {
  readonly reference: Reference;
  /** Where signatures of it may be, if it was opened as a repository. */
  readonly repository: Repository | undefined;
  /** What the reference resolved to, then, where that is an index, the manifest that was chosen from it; none of a tree. */
  readonly digests: readonly Digest[];
}

/**
 * Decides whether an input may be used; throws where not. Asked once the manifest is known and before anything that it
 * names is read; the digests that it is given are the ones that are used.
 */
export type Admission = (candidate: Candidate) => Promise<void>;

export interface OpenImageEnvironment {
  readonly hashes: Hashes;
  readonly files: HostFiles;
  /** Without it anything may be used. */
  readonly admit?: Admission | undefined;
  /** Undefined where none can be reached. */
  readonly registries?: HostRegistries | undefined;
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
  /**
   * What the bytes of the layer are held to. `diff-id` alone where nothing says a digest of the stored bytes, as in a
   * docker-archive; `digest` is the diffID then and only names the layer.
   */
  readonly verifiedBy: "digest" | "diff-id";
}

export interface Image {
  /** For people: the store, such as `oci:/srv/image`. */
  readonly name: string;
  /** Names the image: digest of its manifest, or, where it has none (docker-archive), of its config, the image id. */
  readonly digest: Digest;
  /** Undefined for a docker-archive. */
  readonly manifestBytes: Uint8Array | undefined;
  readonly manifest: Manifest | undefined;
  readonly configDigest: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** The lowest first. */
  readonly layers: readonly ImageLayer[];
  readonly store: BlobStore;
  close(): Promise<void>;
}

const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/**
 * Opens the image that the reference means. Errors: those of the store (`not-found`, `not-a-layout`, `no-such-image`,
 * `ambiguous-image`, `no-such-platform`, `no-blob`), of its documents (`bad-json`, `bad-index`, `bad-manifest`,
 * `bad-config`, `media-type`, `layer-count`) and IntegrityError `digest-mismatch`, `size-mismatch`; UnsupportedError
 * `not-an-image` for a reference to a tree without configuration: see `readInput`.
 */
export async function openImage(
  reference: Reference,
  environment: OpenImageEnvironment,
  options: OpenImageOptions = {},
): Promise<Image> {
  const { transport, path } = reference;
  const { files, hashes, admit } = environment;
  const name = nameOf(reference);
  const admitStored = (repository: Repository | undefined) => async (digests: readonly Digest[]) =>
    admit?.({ reference, repository, digests });
  if (transport === "dir" || transport === "docker-archive") await admitStored(undefined)([]);
  switch (transport) {
    case "docker": {
      const repository = await openRepository(reference, environment);
      return openStored(repository, reference, hashes, options, admitStored(repository));
    }
    case "oci": {
      const layout = await openLayout(await files.openDirectory(path), name, options);
      return openStored(layout, reference, hashes, options, admitStored(undefined));
    }
    case "dir": {
      const tree = await files.openDirectory(path);
      if (await isDirectoryTransport(tree, options)) return openDirectoryImage(tree, name, hashes, options);
      await tree.close();
      break;
    }
    case "oci-archive":
    case "docker-archive": {
      const tree = await openArchiveTree(await files.openFile(path), name, options);
      if (transport === "docker-archive" && (await hasFile(tree, DOCKER_MANIFEST)))
        return openDockerArchive(tree, name, reference, hashes, options);
      const layout = await openLayout(tree, name, options);
      return openStored(
        layout,
        reference,
        hashes,
        options,
        transport === "oci-archive" ? admitStored(undefined) : undefined,
      );
    }
  }
  throw new UnsupportedError("not-an-image", `${name}: is a file tree, no image with a configuration`);
}

/** For people: the reference without tag and digest. */
export function nameOf({ transport, path }: Pick<Reference, "transport" | "path">): string {
  return `${transport}:${transport === "docker" ? "//" : ""}${path}`;
}

/** The repository that a `docker` reference means. Errors: UnsupportedError `no-registries`. */
export async function openRepository(
  reference: Reference,
  { registries }: Pick<OpenImageEnvironment, "registries">,
): Promise<Repository> {
  if (registries === undefined)
    throw new UnsupportedError("no-registries", `${nameOf(reference)}: no registry can be reached from here`);
  return registries.open(parseRegistryReference(reference.path));
}

/** skopeo's `dir:`; owns `tree`. */
export async function openDirectoryImage(
  tree: FileTree,
  name: string,
  hashes: Hashes,
  options: OpenImageOptions,
): Promise<Image> {
  const store = await openDirectoryTransport(tree, name, hashes, options);
  return openStored(store, { tag: undefined, digest: undefined }, hashes, options);
}

async function hasFile(tree: FileTree, path: string): Promise<boolean> {
  try {
    await (await tree.open(path)).close();
    return true;
  } catch (error) {
    if (isAshlarError(error) && error.code === "not-found") return false;
    throw error;
  }
}

async function openStored(
  store: ImageStore,
  selector: Pick<Reference, "tag" | "digest">,
  hashes: Hashes,
  options: OpenImageOptions,
  admit?: (digests: readonly Digest[]) => Promise<void>,
): Promise<Image> {
  try {
    return await readImage(store, selector, hashes, options, admit);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function readImage(
  store: ImageStore,
  selector: Pick<Reference, "tag" | "digest">,
  hashes: Hashes,
  options: OpenImageOptions,
  admit?: (digests: readonly Digest[]) => Promise<void>,
): Promise<Image> {
  const start = await store.resolve(selector, options);
  const { descriptor, manifest, bytes } = await readManifest(
    store,
    start,
    options.platform ?? DEFAULT_PLATFORM,
    hashes,
    options,
  );
  await admit?.(start.digest === descriptor.digest ? [start.digest] : [start.digest, descriptor.digest]);
  const what = `${store.name}: config`;
  const configBytes = await readBlob(store, manifest.config, hashes, what, options);
  const config = parseConfig(configBytes, `${what} ${manifest.config.digest}`);
  checkConfig(config, manifest.layers.length, store.name, options);
  return {
    name: store.name,
    digest: descriptor.digest,
    manifestBytes: bytes,
    manifest,
    configDigest: manifest.config.digest,
    configBytes,
    config,
    layers: manifest.layers.map((layer, index) => ({
      ...layer,
      diffId: config.diffIds[index]!, // equal lengths
      verifiedBy: "digest" as const,
    })),
    store,
    close: () => store.close(),
  };
}

function checkConfig(config: ImageConfig, layerCount: number, name: string, { platform }: OpenImageOptions): void {
  if (platform !== undefined && !matchesPlatform(config, platform))
    throw new SourceError(
      "no-such-platform",
      `${name}: the image is for ${formatPlatform(config)}, not for ${formatPlatform(platform)}`,
    );
  if (config.diffIds.length !== layerCount)
    throw new FormatError(
      "layer-count",
      `${name}: the manifest has ${layerCount} layers, the config ${config.diffIds.length} diff_ids`,
      { expected: layerCount, actual: config.diffIds.length },
    );
}

const DOCKER_MANIFEST = "manifest.json";

/** Owns `tree`. A digest in the reference is the image id. */
async function openDockerArchive(
  tree: FileTree,
  name: string,
  reference: Reference,
  hashes: Hashes,
  options: OpenImageOptions,
): Promise<Image> {
  try {
    return await readDockerArchive(tree, name, reference, hashes, options);
  } catch (error) {
    await tree.close();
    throw error;
  }
}

async function readDockerArchive(
  tree: FileTree,
  name: string,
  { tag, digest }: Reference,
  hashes: Hashes,
  options: OpenImageOptions,
): Promise<Image> {
  const manifestBytes = await readMember(tree, DOCKER_MANIFEST, name);
  const images = parseDockerManifest(manifestBytes, `${name}: ${DOCKER_MANIFEST}`);
  const chosen =
    digest === undefined
      ? selectDockerImage(images, tag, name)
      : images.find(({ config }) => idInName(config) === digest);
  if (chosen === undefined) throw new SourceError("no-such-image", `${name}: no ${digest}`, { path: name });
  const what = `${name}: config ${JSON.stringify(chosen.config.slice(0, 200))}`;
  const configBytes = await readMember(tree, chosen.config, name);
  const id = digestOf(hashes, configBytes);
  const promised = idInName(chosen.config);
  if (promised !== undefined && promised !== id)
    throw new IntegrityError("digest-mismatch", `${what}: digest is ${id}, its name says ${promised}`, {
      path: chosen.config,
      expected: promised,
      actual: id,
    });
  const config = parseConfig(configBytes, what);
  checkConfig(config, chosen.layers.length, name, options);
  const members = new Map<ImageLayer, string>();
  for (const [index, path] of chosen.layers.entries()) {
    const diffId = config.diffIds[index]!; // equal lengths
    members.set(await describeMember(tree, path, diffId, name, options), path);
  }
  return {
    name,
    digest: id,
    manifestBytes: undefined,
    manifest: undefined,
    configDigest: id,
    configBytes,
    config,
    layers: [...members.keys()],
    store: {
      name,
      open: async (layer) => sourceBlob(await openMember(tree, members.get(layer as ImageLayer) ?? "", name)),
    },
    close: () => tree.close(),
  };
}

/** docker writes plain layers, or, from containerd's store, compressed ones; nothing but their bytes says which. */
async function describeMember(
  tree: FileTree,
  path: string,
  diffId: Digest,
  name: string,
  options: OpenImageOptions,
): Promise<ImageLayer> {
  const member = await openMember(tree, path, name);
  try {
    const compression = compressionOf(await member.read(0, Math.min(MAGIC_SIZE, member.size), options));
    if (isForeign(compression))
      throw new UnsupportedError("media-type", `${name}: layer ${diffId} is compressed with ${compression}`);
    return {
      mediaType: "application/vnd.docker.image.rootfs.diff.tar",
      digest: diffId,
      size: member.size,
      annotations: {},
      compression,
      diffId,
      verifiedBy: "diff-id",
    };
  } finally {
    await member.close();
  }
}

async function openMember(tree: FileTree, path: string, name: string): Promise<ClosableSource> {
  try {
    return await tree.open(path);
  } catch (cause) {
    if (isAshlarError(cause) && cause.code === "not-found")
      throw new SourceError("no-blob", `${name}: ${JSON.stringify(path.slice(0, 200))} is missing`, { cause });
    throw cause;
  }
}

async function readMember(tree: FileTree, path: string, name: string): Promise<Uint8Array> {
  const member = await openMember(tree, path, name);
  try {
    return await readAll(member, MAX_DOCUMENT_SIZE, `${name}: ${path.slice(0, 200)}`);
  } finally {
    await member.close();
  }
}
