/** Opens the IMAGE argument of `ls`, `cat` and `extract`: an EROFS image, a disk, or a release beside its artifacts. */
import { dirname, join } from "node:path";
import { fromHex } from "@ashlar/core/bytes";
import { FormatError } from "@ashlar/core/errors";
import { inlineBlockHasher } from "@ashlar/core/hash";
import { nodeHashes, type OpenSource, openFile } from "@ashlar/core/node";
import { type OpenedRoot, openRoot, openSealedRoot } from "@ashlar/core/ops/disk";
import { artifactOf, MAX_RELEASE_SIZE, parseRelease } from "@ashlar/core/ops/release";
import { readAll } from "@ashlar/core/source";

export async function isReleaseFile(source: OpenSource): Promise<boolean> {
  if (source.size === 0 || source.size > MAX_RELEASE_SIZE) return false;
  return (await source.read(0, 1))[0] === 0x7b; // the brace that every JSON object begins with; no disk or image does
}

/** Opens an artifact beside its release. No link is followed: what a release names is what came with it. */
export function openArtifact(release: string, name: string): Promise<OpenSource> {
  return openFile(join(dirname(release), name), { followLink: false });
}

/** Opens the root inside `path`, runs `work`, closes everything. Blocks are verified wherever a root hash is known. */
export async function withRoot<T>(path: string, work: (root: OpenedRoot) => Promise<T>): Promise<T> {
  const hasher = inlineBlockHasher(nodeHashes); // few blocks at a time: threads would only cost their start
  await using source = await openFile(path);
  if (!(await isReleaseFile(source))) return await work(await openRoot(source, path, hasher));
  const release = parseRelease(await readAll(source, MAX_RELEASE_SIZE, path), path);
  const root = artifactOf(release, "root");
  const hashDevice = artifactOf(release, "root-verity");
  if (root === undefined || hashDevice === undefined)
    throw new FormatError("bad-release", `${path}: lists no root and hash device`, { path });
  await using rootFile = await openArtifact(path, root.name);
  await using hashFile = await openArtifact(path, hashDevice.name);
  return await work(await openSealedRoot(rootFile, hashFile, fromHex(release.rootHash), hasher));
}
