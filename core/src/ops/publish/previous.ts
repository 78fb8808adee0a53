/** What a repository has of an earlier release, so that none of it is stored again. */
import { equalBytes } from "../../bytes/index.ts";
import { isAshlarError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import type { Descriptor, Repository, Selector } from "../../formats/oci/index.ts";
import { buildHashTree } from "../../formats/verity/index.ts";
import { DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import { compareVersions, type Release } from "../release/index.ts";
import type { PublishEnvironment } from "./environment.ts";
import type { KnownPack } from "./push-root.ts";
import { releasesIn } from "./resolve.ts";
import { readStoredRelease } from "./stored.ts";
import { assertRootHash, openStoredRoot, type StoredRoot, verityOf, zeroDigest } from "./stored-root.ts";

/** Leaf digests that are read at once. */
const LEAVES_READ = 64 * 1024;

/** What a selector leads to; undefined where nothing is. */
export async function resolveIfThere(
  repository: Repository,
  selector: Selector,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  try {
    return await repository.resolve(selector, { signal });
  } catch (error) {
    if (isAshlarError(error) && NOTHING_THERE.includes(error.code)) return undefined;
    throw error;
  }
}

/** Of a repository without such a tag, of one without anything, and of a layout that is still to be made. */
const NOTHING_THERE = ["no-such-image", "not-a-layout", "not-found"];

/**
 * The packs of the release that `start` leads to, as far as it is for the same machine and has the same hash parameters as
 * `release`: else blocks do not compare. Errors: those of opening a release; IntegrityError `root-hash-mismatch`.
 */
export async function readKnownPacks(
  repository: Repository,
  start: Descriptor,
  release: Release,
  environment: PublishEnvironment,
): Promise<readonly KnownPack[]> {
  const { hashes, signal } = environment;
  const descriptor = (await releasesIn(repository, start, hashes, { signal })).find(
    ({ platform }) => platform === undefined || platform.architecture === release.architecture,
  );
  if (descriptor === undefined) return [];
  const previous = await readStoredRelease(repository, descriptor, environment);
  if (!haveSameHashes(previous.release, release)) return [];
  const root = await openStoredRoot(repository, previous.manifest, previous.release, hashes, { signal });
  try {
    return await readPacks(root, environment);
  } finally {
    await root.close();
  }
}

function haveSameHashes(a: Release, b: Release): boolean {
  const [one, other] = [verityOf(a), verityOf(b)];
  return (
    one.algorithm === other.algorithm && one.dataBlockSize === other.dataBlockSize && equalBytes(one.salt, other.salt)
  );
}

async function readPacks(root: StoredRoot, { blockHasher, signal }: PublishEnvironment): Promise<KnownPack[]> {
  const { recipe } = root;
  const digestSize = DIGEST_SIZES[recipe.parameters.algorithm];
  const packs: KnownPack[] = [];
  for (const [index, reference] of recipe.packs.entries()) {
    const { pack } = await root.openPack(index);
    const leaves = new Uint8Array(pack.blocks * digestSize);
    for (let first = 0; first < pack.blocks; first += LEAVES_READ) {
      const count = Math.min(LEAVES_READ, pack.blocks - first);
      leaves.set(await pack.readLeaves(first, count, { signal }), first * digestSize);
    }
    packs.push({ ...reference, leaves });
  }
  // Damaged digests would name blocks that are not there, and the new release could not be read.
  const zero = await zeroDigest(root, blockHasher);
  const leaves = new Uint8Array(recipe.blocks * digestSize);
  for (const { start, count, pack, first } of recipe.runs)
    if (pack === undefined) for (let i = 0; i < count; i++) leaves.set(zero, (start + i) * digestSize);
    else leaves.set(packs[pack]!.leaves.subarray(first * digestSize, (first + count) * digestSize), start * digestSize);
  const { rootHash } = await buildHashTree(leaves, root.verity, blockHasher);
  assertRootHash(rootHash, root.release, `${root.repository.name}: digests in the packs of the previous release`);
  return packs;
}

/** Tags that are looked at for another release of the product. */
const MAX_TAGS = 16;

/** The newest version of the product, for whichever machine, among the tags that sort last; undefined where there is none. */
export async function newestRelease(
  repository: Repository,
  { imageId }: Release,
  environment: PublishEnvironment,
): Promise<Descriptor | undefined> {
  const { hashes, signal } = environment;
  let newest: { readonly start: Descriptor; readonly version: string } | undefined;
  for (const tag of (await tagsIfThere(repository, signal)).sort((a, b) => compareVersions(b, a)).slice(0, MAX_TAGS)) {
    const start = await resolveIfThere(repository, { tag }, signal);
    const [first] = start === undefined ? [] : await releasesIfAny(repository, start, hashes, signal);
    if (start === undefined || first === undefined) continue;
    const { release } = await readStoredRelease(repository, first, environment);
    const version = release.imageVersion ?? "";
    if (release.imageId === imageId && (newest === undefined || compareVersions(version, newest.version) > 0))
      newest = { start, version };
  }
  return newest?.start;
}

/** Registries do not agree on whether a repository without anything in it is there. */
async function tagsIfThere(repository: Repository, signal: AbortSignal | undefined): Promise<string[]> {
  try {
    return (await repository.tags({ signal })).filter((tag) => !DIGEST_TAG.test(tag));
  } catch (error) {
    if (isAshlarError(error) && NOTHING_THERE.includes(error.code)) return [];
    throw error;
  }
}

/** Signatures and lists of referrers are found by such tags. */
const DIGEST_TAG = /^sha(256|512)-[0-9a-f]{64,}/;

async function releasesIfAny(
  repository: Repository,
  start: Descriptor,
  hashes: Hashes,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  try {
    return await releasesIn(repository, start, hashes, { signal });
  } catch (error) {
    if (isAshlarError(error) && error.code === "not-a-release") return [];
    throw error;
  }
}

/** Throws PolicyError `tag-taken` where a tag leads to something that is no release, such as the image it was made from. */
export async function assertTagHoldsRelease(
  repository: Repository,
  tag: string,
  held: Descriptor,
  { hashes, signal }: PublishEnvironment,
): Promise<void> {
  try {
    await releasesIn(repository, held, hashes, { signal });
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    throw new PolicyError(
      "tag-taken",
      `${repository.name}: tag ${tag} holds something else than a release; push to another tag`,
      {
        path: tag,
        cause: error,
      },
    );
  }
}
