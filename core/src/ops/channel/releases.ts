/** Between a channel and the releases it points to: what a release says of itself, and what a copy must take along. */
import { PolicyError } from "../../errors/index.ts";
import {
  type Descriptor,
  parseArtifactManifest,
  parseIndex,
  type Repository,
  readBlob,
  type Selector,
} from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { parseRelease } from "../release/index.ts";
import { type ChannelDocuments, isChannel, readDocuments } from "./state.ts";
import type { ChannelRelease } from "./view.ts";
import { releaseOf } from "./view.ts";

const RELEASE_ARTIFACT_TYPE = "application/vnd.ashlar.release.v1+json";
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

/** Manifests of an index that are looked at. */
const MAX_ARCHITECTURES = 32;

export type DescribedRelease = Pick<ChannelRelease, "product" | "architecture" | "version" | "rootHash" | "manifest">;

/**
 * The release that `selector` means, or one for each architecture of an index. The tag is resolved once. Errors:
 * PolicyError `not-a-release`; those of manifests and of release.json; IntegrityError.
 */
export async function describeReleases(
  repository: Repository,
  selector: Selector,
  hashes: Hashes,
  options: ReadOptions = {},
): Promise<DescribedRelease[]> {
  const descriptor = await repository.resolve(selector, options);
  if (descriptor.mediaType !== INDEX_TYPE) return [await describeRelease(repository, descriptor, hashes, options)];
  const what = `${repository.name}: index`;
  const { manifests } = parseIndex(await readBlob(repository, descriptor, hashes, what, options), what);
  if (manifests.length === 0 || manifests.length > MAX_ARCHITECTURES)
    throw new PolicyError("not-a-release", `${what} ${descriptor.digest} has ${manifests.length} manifests`);
  const releases: DescribedRelease[] = [];
  for (const manifest of manifests) releases.push(await describeRelease(repository, manifest, hashes, options));
  return releases;
}

async function describeRelease(
  repository: Repository,
  descriptor: Descriptor,
  hashes: Hashes,
  options: ReadOptions,
): Promise<DescribedRelease> {
  const what = `${repository.name}: manifest ${descriptor.digest}`;
  const manifest = parseArtifactManifest(await readBlob(repository, descriptor, hashes, what, options), what);
  if (manifest.artifactType !== RELEASE_ARTIFACT_TYPE)
    throw new PolicyError(
      "not-a-release",
      `${what} is ${JSON.stringify(manifest.artifactType.slice(0, 120))}, no release`,
      { expected: RELEASE_ARTIFACT_TYPE, actual: manifest.artifactType },
    );
  const config = await readBlob(repository, manifest.config, hashes, `${what}: release.json`, options);
  const { imageId, imageVersion, architecture, rootHash } = parseRelease(config, `${what}: release.json`);
  if (imageId === undefined || imageVersion === undefined || architecture === undefined)
    throw new PolicyError(
      "not-a-release",
      `${what}: has no image id, version or architecture: no channel can offer it`,
    );
  const { mediaType, digest, size } = descriptor;
  return { product: imageId, architecture, version: imageVersion, rootHash, manifest: { mediaType, digest, size } };
}

/** The manifests that a channel points to; in its own repository. */
export function releasesOf({ targets }: Pick<ChannelDocuments, "targets">): Descriptor[] {
  const all = Object.values(targets.signed.targets).map((target) => releaseOf(target).manifest);
  const unique = new Map(all.map((manifest) => [manifest.digest, manifest]));
  return [...unique.values()].map((manifest) => ({ ...manifest, annotations: {} }));
}

/**
 * For who copies manifests without knowing what they are: what this one points to beyond its layers, by digest in the
 * same repository. Nothing for what is no channel. The documents need not be trusted to be copied; devices verify them.
 */
export async function referencesOf(
  repository: Repository,
  manifest: Uint8Array,
  hashes: Hashes,
  options: ReadOptions = {},
): Promise<Descriptor[]> {
  const what = `${repository.name}: channel`;
  const parsed = parseArtifactManifest(manifest, what);
  if (!isChannel(parsed)) return [];
  return releasesOf(await readDocuments(repository, parsed, hashes, what, { ...options, fromRoot: Infinity }));
}
