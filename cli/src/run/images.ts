/** Opens the IMAGE argument of `ls`, `cat`, `extract`, `fsck` and `dump`: an EROFS image, a disk, a release beside its artifacts or in a repository. */
import { dirname, join } from "node:path";
import { fromHex } from "@ashlar/core/bytes";
import { FormatError } from "@ashlar/core/errors";
import { openErofs } from "@ashlar/core/formats/erofs";
import { verifiedSource } from "@ashlar/core/formats/verity";
import { type BlockHasher, inlineBlockHasher } from "@ashlar/core/hash";
import { nativeDecompressor, nodeHashes, type OpenSource, openFile } from "@ashlar/core/node";
import { findRoot, type OpenedRoot, type RootSource } from "@ashlar/core/ops/disk";
import { artifactOf, MAX_RELEASE_SIZE, parseRelease } from "@ashlar/core/ops/release";
import { readAll } from "@ashlar/core/source";
import type { ReleaseFlags } from "../commands/flags.ts";
import type { Session } from "./session.ts";
import { releaseEnvironment, repositoryReference, withRelease } from "./stored-releases.ts";

export async function isReleaseFile(source: OpenSource): Promise<boolean> {
  if (source.size === 0 || source.size > MAX_RELEASE_SIZE) return false;
  return (await source.read(0, 1))[0] === 0x7b; // the brace that every JSON object begins with; no disk or image does
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
): Promise<T> {
  const hasher = inlineBlockHasher(nodeHashes); // few blocks at a time: threads would only cost their start
  const reference = await repositoryReference(word);
  if (reference === undefined) return withRootOfFile(word, hasher, work);
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
): Promise<T> {
  return withRootSource(word, flags, session, async ({ source, rootHash }) =>
    work({ image: await openErofs(source, { decompressor: nativeDecompressor() }), rootHash }),
  );
}

async function withRootOfFile<T>(
  path: string,
  hasher: BlockHasher,
  work: (root: RootSource) => Promise<T>,
): Promise<T> {
  await using source = await openFile(path);
  if (!(await isReleaseFile(source))) return await work(await findRoot(source, path, hasher));
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
