/** Between a channel and the releases it points to: what a release says of itself, and what a copy must take along. */
import { PolicyError } from "../../errors/index.ts";
import { type Descriptor, parseArtifactManifest, type Repository, type Selector } from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { readStoredRelease, releasesIn } from "../publish/index.ts";
import { type ChannelDocuments, isChannel, readDocuments } from "./state.ts";
import { type ChannelRelease, releaseOf } from "./view.ts";

export type DescribedRelease = Pick<ChannelRelease, "product" | "architecture" | "version" | "rootHash" | "manifest">;

/**
 * The release that `selector` means, or one for each architecture of an index. The tag is resolved once. Errors: those of
 * `releasesIn` and `readStoredRelease`; PolicyError `no-identity` for content that is no system.
 */
export async function describeReleases(
  repository: Repository,
  selector: Selector,
  hashes: Hashes,
  options: ReadOptions = {},
): Promise<DescribedRelease[]> {
  const start = await repository.resolve(selector, options);
  const described: DescribedRelease[] = [];
  for (const descriptor of await releasesIn(repository, start, hashes, options)) {
    const { release } = await readStoredRelease(repository, descriptor, { hashes, signal: options.signal });
    const { imageId: product, imageVersion: version, architecture, rootHash } = release;
    const { mediaType, digest, size } = descriptor;
    if (product === undefined || version === undefined || architecture === undefined)
      throw new PolicyError("no-identity", `${repository.name}: ${digest} has no image id, version or architecture`);
    described.push({ product, architecture, version, rootHash, manifest: { mediaType, digest, size } });
  }
  return described;
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
