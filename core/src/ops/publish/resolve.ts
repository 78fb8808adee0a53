/** From what a name means to one release: through indexes by platform, and from a container image by its referrers. */
import { oneLine } from "../../bytes/index.ts";
import { FormatError, SourceError, UnsupportedError } from "../../errors/index.ts";
import {
  type Descriptor,
  formatPlatform,
  matchesPlatform,
  type Platform,
  parseArtifactManifest,
  parseIndex,
  type Repository,
  readBlob,
  type Selector,
} from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { ANNOTATION_CREATED, ANNOTATION_VERSION, INDEX_TYPE, MANIFEST_TYPE, RELEASE_TYPE } from "./media-types.ts";

/** Releases that an error lists. */
const MAX_LISTED = 10;

export interface ResolveOptions extends ReadOptions {
  /** Chosen from an index. Default: linux/amd64, or the only one there is. */
  readonly platform?: Platform | undefined;
}

const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/**
 * What a manifest or index is, read and verified: the releases in it. A release is one by itself. Throws UnsupportedError
 * `not-a-release` for what is something else.
 */
export async function releasesIn(
  repository: Repository,
  start: Descriptor,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<readonly Descriptor[]> {
  const what = `${repository.name}: ${start.digest}`;
  const notOne = (kind: string) => new UnsupportedError("not-a-release", `${what}: is ${kind}, no release`);
  if (start.mediaType === INDEX_TYPE) {
    const { manifests } = parseIndex(await readBlob(repository, start, hashes, what, options), what);
    const releases = manifests.filter(({ artifactType }) => artifactType === RELEASE_TYPE);
    if (releases.length === 0) throw notOne("an index of something else");
    return releases;
  }
  if (start.mediaType !== MANIFEST_TYPE) throw notOne(JSON.stringify(oneLine(start.mediaType)));
  const { artifactType } = parseArtifactManifest(await readBlob(repository, start, hashes, what, options), what);
  if (artifactType !== RELEASE_TYPE) throw notOne(JSON.stringify(oneLine(artifactType)));
  return [start];
}

/**
 * The manifest of the one release that a name means. Where it means a container image, the release that says it was made
 * from that. Errors: those of the repository; SourceError `no-such-platform`, `no-release` where an image has none,
 * `ambiguous-release` where it has several; UnsupportedError `not-a-release`.
 */
export async function resolveRelease(
  repository: Repository,
  selector: Selector,
  hashes: Hashes,
  options: ResolveOptions = {},
): Promise<Descriptor> {
  const start = await repository.resolve(selector, options);
  let releases: readonly Descriptor[];
  try {
    releases = await releasesIn(repository, start, hashes, options);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    releases = await releasesOfImage(repository, start, hashes, options);
  }
  return choose(releases, options.platform, `${repository.name}: ${start.digest}`);
}

/** An image says nothing of its releases; they refer to its manifest. */
async function releasesOfImage(
  repository: Repository,
  start: Descriptor,
  hashes: Hashes,
  options: ResolveOptions,
): Promise<readonly Descriptor[]> {
  const subjects = [start];
  if (start.mediaType === INDEX_TYPE) {
    const what = `${repository.name}: index ${start.digest}`;
    subjects.push(...parseIndex(await readBlob(repository, start, hashes, what, options), what).manifests);
  }
  const found = new Map<string, Descriptor>();
  for (const { digest, platform } of subjects)
    for (const referrer of await repository.referrers(digest, { ...options, artifactType: RELEASE_TYPE }))
      found.set(referrer.digest, { ...referrer, ...(platform === undefined ? {} : { platform }) });
  if (found.size > 0) return [...found.values()];
  throw new SourceError("no-release", `${repository.name}: ${start.digest} is no release, and none refers to it`);
}

function choose(releases: readonly Descriptor[], wanted: Platform | undefined, what: string): Descriptor {
  const [only] = releases;
  if (only === undefined) throw new FormatError("bad-index", `${what}: has no releases`);
  if (releases.length === 1 && (wanted === undefined || only.platform === undefined)) return only;
  const platform = wanted ?? DEFAULT_PLATFORM;
  const matching = releases.filter(
    (release) => release.platform === undefined || matchesPlatform(release.platform, platform),
  );
  const [first] = matching;
  if (first === undefined) {
    const there = releases.map((release) =>
      release.platform ? formatPlatform(release.platform) : "one without platform",
    );
    const list = [...new Set(there)].slice(0, MAX_LISTED).map(oneLine).join(", ");
    throw new SourceError("no-such-platform", `${what}: no release for ${formatPlatform(platform)}; there is ${list}`);
  }
  if (matching.length === 1) return first;
  const list = matching.slice(0, MAX_LISTED).map(({ digest, annotations }) => {
    const facts = [annotations[ANNOTATION_VERSION], annotations[ANNOTATION_CREATED]].filter(
      (fact) => fact !== undefined,
    );
    return facts.length === 0 ? digest : `${digest} (${facts.map(oneLine).join(", ")})`;
  });
  throw new SourceError("ambiguous-release", `${what}: ${matching.length} releases: ${list.join(", ")}`);
}
