/**
 * Opens the IMAGE argument of `ls`, `cat`, `extract`, `fsck` and `dump`: an EROFS image, a disk, a release beside its artifacts
 * or in a repository. What only some of them need is loaded when it is needed: loading everything takes a tenth of a second.
 */
import { dirname, join } from "node:path";
import { fromHex } from "@ashlar/core/bytes";
import { FormatError } from "@ashlar/core/errors";
import { isErofs, openErofs } from "@ashlar/core/formats/erofs/reader";
import { type BlockHasher, inlineBlockHasher } from "@ashlar/core/hash";
import {
  nativeDecompressor,
  nodeHashes,
  type OpenFileOptions,
  type OpenSource,
  openFile,
} from "@ashlar/core/node/reading";
import type { OpenedRoot, RootSource } from "@ashlar/core/ops/disk";
import { readAll } from "@ashlar/core/source";
import type { ReleaseFlags } from "../commands/flags.ts";
import type { Session } from "./session.ts";
import { isExplicitReference, isThere } from "./words.ts";

export async function isReleaseFile(source: OpenSource): Promise<boolean> {
  // The brace that every JSON object begins with; no disk or image does.
  if (source.size === 0 || (await source.read(0, 1))[0] !== 0x7b) return false;
  const { MAX_RELEASE_SIZE } = await import("@ashlar/core/ops/release");
  return source.size <= MAX_RELEASE_SIZE;
}

/** Opens an artifact beside its release. No link is followed: what a release names is what came with it. */
export function openArtifact(release: string, name: string): Promise<OpenSource> {
  return openFile(join(dirname(release), name), { followLink: false });
}

/**
 * Finds the root inside of what a word means, runs `work`, closes everything. Blocks are verified wherever a root hash is
 * known. Nothing of the root is read yet.
 */
export async function withRootSource<T>(
  word: string,
  flags: ReleaseFlags,
  { signal }: Session,
  work: (root: RootSource) => Promise<T>,
  options: OpenFileOptions = {},
): Promise<T> {
  const hasher = inlineBlockHasher(nodeHashes); // few blocks at a time: threads would only cost their start
  if (!isExplicitReference(word) && (await isThere(word))) return withRootOfFile(word, hasher, work, options);
  const { releaseEnvironment, repositoryReference, withRelease } = await import("./stored-releases.ts");
  const reference = await repositoryReference(word);
  if (reference === undefined) return withRootOfFile(word, hasher, work, options);
  return withRelease(reference, flags, releaseEnvironment(flags, hasher, signal), async ({ release, sources }) => {
    const { data } = await sources(); // verified
    return work({ source: data, rootHash: fromHex(release.rootHash) });
  });
}

/** {@link withRootSource}, the root opened. */
export async function withRoot<T>(
  word: string,
  flags: ReleaseFlags,
  session: Session,
  work: (root: OpenedRoot) => Promise<T>,
  options: OpenFileOptions = {},
): Promise<T> {
  return withRootSource(
    word,
    flags,
    session,
    async ({ source, rootHash }) =>
      work({ image: await openErofs(source, { decompressor: nativeDecompressor() }), rootHash }),
    options,
  );
}

async function withRootOfFile<T>(
  path: string,
  hasher: BlockHasher,
  work: (root: RootSource) => Promise<T>,
  options: OpenFileOptions,
): Promise<T> {
  await using source = await openFile(path, options);
  if (await isErofs(source)) return await work({ source, rootHash: undefined });
  if (!(await isReleaseFile(source))) {
    const { findRoot } = await import("@ashlar/core/ops/disk");
    return await work(await findRoot(source, path, hasher));
  }
  return await withRootOfRelease(path, source, hasher, work);
}

async function withRootOfRelease<T>(
  path: string,
  source: OpenSource,
  hasher: BlockHasher,
  work: (root: RootSource) => Promise<T>,
): Promise<T> {
  const { artifactOf, MAX_RELEASE_SIZE, parseRelease } = await import("@ashlar/core/ops/release");
  const { verifiedSource } = await import("@ashlar/core/formats/verity");
  const release = parseRelease(await readAll(source, MAX_RELEASE_SIZE, path), path);
  const root = artifactOf(release, "root");
  const hashDevice = artifactOf(release, "root-verity");
  if (root === undefined || hashDevice === undefined)
    throw new FormatError("bad-release", `${path}: lists no root and hash device`, { path });
  await using rootFile = await openArtifact(path, root.name);
  await using hashFile = await openArtifact(path, hashDevice.name);
  const rootHash = fromHex(release.rootHash);
  return await work({ source: await verifiedSource(rootFile, hashFile, rootHash, { hasher }), rootHash });
}
