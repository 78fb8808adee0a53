/** Stores releases in a repository. Everything is a function of release and repository, so that pushing twice sends nothing. */
import { oneLine } from "../../bytes/index.ts";
import { FormatError, IntegrityError, PolicyError } from "../../errors/index.ts";
import {
  type ClosableSource,
  type Descriptor,
  isManifestType,
  type PutResult,
  type Repository,
  type Selector,
} from "../../formats/oci/index.ts";
import { type Digest, digestOf, parseDigest } from "../../hash/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import { artifactOf, type Release } from "../release/release.ts";
import { encodeAssembly } from "./assembly.ts";
import type { PublishEnvironment } from "./environment.ts";
import {
  type EncodedManifest,
  encodeDocument,
  encodeReleaseManifest,
  plainDescriptor,
  type ReleaseLayers,
} from "./manifest.ts";
import * as types from "./media-types.ts";
import { assertTagHoldsRelease, newestRelease, readKnownPacks, resolveIfThere } from "./previous.ts";
import { packRoot, readLeafLevel } from "./push-root.ts";
import { packSection } from "./stored-section.ts";
import { takeApart } from "./take-apart.ts";

/** A release beside its artifacts. */
export interface ReleaseFiles {
  /** For people: where it is. */
  readonly name: string;
  readonly release: Release;
  /** The bytes of release.json. */
  readonly bytes: Uint8Array;
  /** An artifact by its name. */
  open(name: string): Promise<ClosableSource>;
}

export interface PushOptions {
  /** Moved when everything else is there. */
  readonly tag?: string | undefined;
  /**
   * A release in the same repository whose packs are used again; `none` for none. Default: what the tag holds, else the
   * newest version of the product under another tag.
   */
  readonly previous?: Selector | "none" | undefined;
  /** The index that the source image was chosen from. */
  readonly sourceIndex?: Digest | undefined;
}

export interface PushedBlob {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly result: PutResult;
}

export interface PushedRelease {
  readonly name: string;
  readonly descriptor: Descriptor;
  readonly release: Release;
  /** Whether it refers to its source image, which is in the same repository. */
  readonly subject: Digest | undefined;
  readonly blobs: readonly PushedBlob[];
  /** Blocks of the root that went into a new pack. */
  readonly newBlocks: number;
  readonly packs: number;
}

export interface Pushed {
  /** Of the release, or of the index of several. */
  readonly descriptor: Descriptor;
  readonly tag: string | undefined;
  readonly releases: readonly PushedRelease[];
  /** Bytes of blobs that were sent. */
  readonly sent: number;
}

/**
 * Pushes one release, or several of different architectures under one index. Artifacts are held against release.json and
 * the root hash on the way. Errors: IntegrityError where an artifact is not what the release says; PolicyError `tag-taken`,
 * `same-architecture`; those of the repository. The tag is moved last: a push that breaks off leaves it where it was.
 */
export async function pushReleases(
  releases: readonly ReleaseFiles[],
  repository: Repository,
  options: PushOptions,
  environment: PublishEnvironment,
): Promise<Pushed> {
  const { signal } = environment;
  const { tag } = options;
  const [only] = releases;
  if (only === undefined) throw new RangeError("no release to push");
  assertDistinct(releases);
  const held = tag === undefined ? undefined : await resolveIfThere(repository, { tag }, signal);
  if (tag !== undefined && held !== undefined) await assertTagHoldsRelease(repository, tag, held, environment);
  const previous = await findPrevious(repository, held, options.previous, only.release, environment);
  const pushed: PushedRelease[] = [];
  for (const files of releases) {
    const single = releases.length === 1 ? tag : undefined;
    pushed.push(await pushOne(files, repository, { ...options, tag: single }, previous, environment));
  }
  const sent = pushed
    .flatMap(({ blobs }) => blobs)
    .reduce((sum, { size, result }) => sum + (result === "sent" ? size : 0), 0);
  if (releases.length === 1) return { descriptor: pushed[0]!.descriptor, tag, releases: pushed, sent }; // one was pushed
  const { descriptor, bytes } = encodeIndex(pushed, environment);
  signal?.throwIfAborted();
  await putManifest(repository, { descriptor, bytes }, tag, undefined, environment);
  return { descriptor, tag, releases: pushed, sent };
}

async function findPrevious(
  repository: Repository,
  held: Descriptor | undefined,
  wanted: PushOptions["previous"],
  release: Release,
  environment: PublishEnvironment,
): Promise<Descriptor | undefined> {
  if (wanted === "none") return undefined;
  if (wanted !== undefined) return repository.resolve(wanted, { signal: environment.signal });
  return held ?? (await newestRelease(repository, release, environment));
}

function assertDistinct(releases: readonly ReleaseFiles[]): void {
  if (releases.length === 1) return;
  const seen = new Map<string, string>();
  for (const { release, name } of releases) {
    const architecture = release.architecture ?? "";
    const other = seen.get(architecture);
    if (architecture === "" || other !== undefined)
      throw new PolicyError(
        "same-architecture",
        architecture === ""
          ? `${name}: says no architecture, so that it cannot stand beside others`
          : `${name}: is for ${oneLine(architecture)}, and so is ${other}`,
      );
    seen.set(architecture, name);
  }
}

function encodeIndex(pushed: readonly PushedRelease[], { hashes }: PublishEnvironment): EncodedManifest {
  const manifests = pushed.map(({ descriptor, release }) =>
    plainDescriptor({ ...descriptor, platform: { os: "linux", architecture: release.architecture ?? "" } }),
  );
  const document = { schemaVersion: 2, mediaType: types.INDEX_TYPE, artifactType: types.RELEASE_TYPE, manifests };
  return encodeDocument(document, types.INDEX_TYPE, hashes);
}

/** Nothing is sent where the manifest is there under this tag already, or, without a tag, among the referrers of its subject. */
async function putManifest(
  repository: Repository,
  { descriptor, bytes }: EncodedManifest,
  tag: string | undefined,
  subject: Descriptor | undefined,
  { signal }: PublishEnvironment,
): Promise<void> {
  const { digest } = descriptor;
  const held = await resolveIfThere(repository, tag === undefined ? { digest } : { tag }, signal);
  // The tag comes last. Without one, a push that was killed may have left the manifest and not the way to it.
  const isListed =
    tag !== undefined ||
    subject === undefined ||
    (await repository.referrers(subject.digest, { signal, artifactType: types.RELEASE_TYPE })).some(
      (referrer) => referrer.digest === digest,
    );
  if (held?.digest !== digest || !isListed) await repository.putManifest(descriptor, bytes, tag, { signal });
}

async function pushOne(
  files: ReleaseFiles,
  repository: Repository,
  options: PushOptions,
  previous: Descriptor | undefined,
  environment: PublishEnvironment,
): Promise<PushedRelease> {
  const { release } = files;
  const { hashes, signal, reporter } = environment;
  const known = previous === undefined ? [] : await readKnownPacks(repository, previous, release, environment);
  const opened = await openArtifacts(files);
  const made: { dispose(): Promise<void> }[] = [];
  try {
    const sealed = await readLeafLevel(opened.hashDevice, release, environment, files.name);
    const packed = await packRoot(opened.root, release, sealed, known, environment, files.name);
    if (packed.newPack !== undefined) made.push(packed.newPack.content);
    const parts = await takeApart(release, opened.all, environment);

    const blobs: PushedBlob[] = [];
    const contents: (readonly [Descriptor, Source])[] = [];
    function layer(mediaType: string, content: Source, digest: Digest, annotations = {}): Descriptor {
      const descriptor: Descriptor = { mediaType, digest, size: content.size, annotations };
      contents.push([descriptor, content]);
      return descriptor;
    }
    const bytesLayer = (mediaType: string, bytes: Uint8Array): Descriptor =>
      layer(mediaType, bytesSource(bytes), digestOf(hashes, bytes));
    const config = bytesLayer(types.RELEASE_TYPE, files.bytes);
    const recipe = bytesLayer(types.RECIPE_TYPE, packed.recipeBytes);
    const tree = packed.upperLevels.length === 0 ? undefined : bytesLayer(types.TREE_TYPE, packed.upperLevels);
    const packs = packed.recipe.packs.map(
      ({ digest, size }): Descriptor => ({ mediaType: types.PACK_TYPE, digest, size, annotations: {} }),
    );
    const newest = packs.at(-1);
    if (packed.newPack !== undefined && newest !== undefined) contents.push([newest, packed.newPack.content]);
    const sections: Descriptor[] = [];
    for (const section of parts.sections) {
      const stored = await packSection(section, environment);
      made.push(stored);
      sections.push(stored.layer);
      contents.push([stored.layer, stored.content]);
    }
    const sectionRecipes = parts.sectionRecipes.map(([section, bytes]) =>
      layer(types.SECTION_RECIPE_TYPE, bytesSource(bytes), digestOf(hashes, bytes), {
        [types.ANNOTATION_SECTION_DIGEST]: section,
      }),
    );
    const assembly =
      parts.artifacts.length === 0 ? undefined : bytesLayer(types.ASSEMBLY_TYPE, encodeAssembly(parts.artifacts));
    const literals = parts.literals.map((bytes) => bytesLayer(types.LITERALS_TYPE, bytes));
    const layers: ReleaseLayers = { config, recipe, tree, packs, sections, sectionRecipes, assembly, literals };

    const task = reporter.start(
      "sending",
      contents.reduce((sum, [, { size }]) => sum + size, 0),
    );
    for (const [descriptor, content] of contents) {
      signal?.throwIfAborted();
      let sent = 0;
      const result = await repository.putBlob(descriptor, content, {
        signal,
        onProgress(amount) {
          sent += amount;
          task.advance(amount);
        },
      });
      task.advance(Math.max(0, descriptor.size - sent));
      const { mediaType, digest, size } = descriptor;
      blobs.push({ mediaType, digest, size, result });
    }
    task.end();

    const subject = await subjectOf(release, repository, signal);
    const manifest = encodeReleaseManifest(layers, subject, annotationsOf(release, options.sourceIndex), hashes);
    signal?.throwIfAborted();
    await putManifest(repository, manifest, options.tag, subject, environment);
    const { newBlocks } = packed;
    return {
      name: files.name,
      descriptor: manifest.descriptor,
      release,
      subject: subject?.digest,
      blobs,
      newBlocks,
      packs: packs.length,
    };
  } finally {
    for (const part of made) await part.dispose();
    for (const source of opened.all.values()) await source.close();
  }
}

/** The source image, where it is in the same repository. An index cannot be one: a release is made from one of its manifests. */
async function subjectOf(
  release: Release,
  repository: Repository,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  const source = release.inputs.find(({ name }) => name === "image");
  if (source === undefined) return undefined;
  const found = await resolveIfThere(repository, { digest: parseDigest(source.digest) }, signal);
  return found !== undefined && isManifestType(found.mediaType) ? found : undefined;
}

function annotationsOf(release: Release, sourceIndex: Digest | undefined): Record<string, string> {
  const { imageId, imageVersion, rootHash, options, inputs } = release;
  const created = timeOf(options["timestamp"]);
  const source = inputs.find(({ name }) => name === "image");
  return {
    ...(imageId === undefined ? {} : { [types.ANNOTATION_TITLE]: imageId }),
    ...(imageVersion === undefined ? {} : { [types.ANNOTATION_VERSION]: imageVersion }),
    ...(created === undefined ? {} : { [types.ANNOTATION_CREATED]: created }),
    [types.ANNOTATION_ROOT_HASH]: rootHash,
    ...(source === undefined ? {} : { [types.ANNOTATION_SOURCE_MANIFEST]: source.digest }),
    ...(sourceIndex === undefined ? {} : { [types.ANNOTATION_SOURCE_INDEX]: sourceIndex }),
  };
}

/** Seconds since 1970 as RFC 3339, where a date can say it. */
function timeOf(seconds: unknown): string | undefined {
  if (typeof seconds !== "string" || !/^\d{1,11}(\.\d{1,9})?$/.test(seconds)) return undefined;
  return new Date(Math.floor(Number(seconds)) * 1000).toISOString().replace(".000Z", "Z");
}

interface OpenedArtifacts {
  readonly root: Source;
  readonly hashDevice: Source;
  readonly all: ReadonlyMap<string, ClosableSource>;
}

async function openArtifacts({ name, release, open }: ReleaseFiles): Promise<OpenedArtifacts> {
  const root = artifactOf(release, "root");
  const hashDevice = artifactOf(release, "root-verity");
  if (root === undefined || hashDevice === undefined)
    throw new FormatError("bad-release", `${name}: lists no root and hash device`, { path: name });
  const all = new Map<string, ClosableSource>();
  try {
    for (const artifact of release.artifacts) {
      const source = await open(artifact.name);
      all.set(artifact.name, source);
      if (source.size !== artifact.size)
        throw new IntegrityError(
          "size-mismatch",
          `${artifact.name} has ${source.size} bytes, the release says ${artifact.size}`,
          {
            expected: artifact.size,
            actual: source.size,
          },
        );
    }
    return { root: all.get(root.name)!, hashDevice: all.get(hashDevice.name)!, all }; // opened above
  } catch (error) {
    for (const source of all.values()) await source.close();
    throw error;
  }
}
