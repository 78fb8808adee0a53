/** Opens any image as a side of a diff: a reference, a release beside its artifacts, a disk, an EROFS image. */
import { fromHex } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { readTree } from "../../formats/erofs/index.ts";
import type { Platform } from "../../formats/oci/index.ts";
import { readAll, type Source } from "../../source/index.ts";
import { findSealedPair, openDisk, partitionSource } from "../disk/disk.ts";
import { openRoot, openSealedRoot } from "../disk/open-root.ts";
import type { Environment } from "../environment.ts";
import { type InputEnvironment, type Reference, readInput } from "../image/index.ts";
import { directoryOf, type Located, locate } from "../inspect/locate.ts";
import { isRepositoryReference, openIfRelease, type ReleaseAccess, type StoredRelease } from "../publish/index.ts";
import { artifactOf, MAX_RELEASE_SIZE, parseRelease } from "../release/release.ts";
import type { DiffInput } from "./diff.ts";

export interface DiffSide extends DiffInput {
  close(): Promise<void>;
}

export interface OpenSideEnvironment extends InputEnvironment, Pick<Environment, "blockHasher">, ReleaseAccess {}

interface Closable {
  close(): Promise<void>;
}

/** Reads of a sealed root are verified. @param word as a person gave it. Errors: those of opening what it means. */
export async function openDiffSide(
  word: string,
  environment: OpenSideEnvironment,
  options: { readonly platform?: Platform | undefined } = {},
): Promise<DiffSide> {
  const opened: Closable[] = [];
  const close = async (): Promise<void> => {
    for (const thing of opened.splice(0).reverse()) await thing.close();
  };
  try {
    const located = await locate(word, environment.files, environment);
    const input = await openLocated(word, located, environment, options, opened);
    return { ...input, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openLocated(
  word: string,
  located: Located,
  environment: OpenSideEnvironment,
  options: { readonly platform?: Platform | undefined },
  opened: Closable[],
): Promise<DiffInput> {
  const { blockHasher, files, signal } = environment;
  if (located.kind === "image") {
    const stored = await openStored(located.reference, environment, options);
    if (stored !== undefined) {
      opened.push(stored);
      const { data, hashDevice } = await stored.sources();
      return sealedSide(word, data, hashDevice, fromHex(stored.release.rootHash), environment);
    }
    const input = await readInput(located.reference, environment, options);
    opened.push({ close: () => input.dispose() });
    return { name: word, root: input.tree, image: undefined };
  }
  const { kind, source, path } = located;
  opened.push(source);
  switch (kind) {
    case "erofs": {
      const { image } = await openRoot(source, path, blockHasher, { signal });
      const { blockSize, blockCount } = image.superblock;
      const data: Source = { size: blockSize * blockCount, read: source.read };
      return { name: word, root: await readTree(image), image: { data, hashTree: undefined } };
    }
    case "disk": {
      const disk = await openDisk(source, { signal });
      const uki = disk.ukis.findLast(({ rootHash }) => rootHash !== undefined);
      if (uki?.rootHash === undefined)
        throw new FormatError("no-root", `${path}: no UKI on the disk names a root hash`, { path });
      const pair = findSealedPair(disk.gpt, uki.rootHash);
      const data = partitionSource(source, pair.root);
      return sealedSide(word, data, partitionSource(source, pair.verity), uki.rootHash, environment);
    }
    case "release": {
      const release = parseRelease(await readAll(source, MAX_RELEASE_SIZE, path), path);
      const root = artifactOf(release, "root");
      const hashDevice = artifactOf(release, "root-verity");
      if (root === undefined || hashDevice === undefined)
        throw new FormatError("bad-release", `${path}: lists no root and hash device`, { path });
      const folder = await files.openDirectory(directoryOf(path));
      opened.push(folder);
      const data = await folder.open(root.name);
      opened.push(data);
      const device = await folder.open(hashDevice.name);
      opened.push(device);
      return sealedSide(word, data, device, fromHex(release.rootHash), environment);
    }
    default:
      throw new UnsupportedError("no-tree", `${path}: has no tree of files to compare (${kind})`, { path });
  }
}

/** Undefined for what is no release in a repository. */
async function openStored(
  reference: Reference,
  { releases, ...environment }: OpenSideEnvironment,
  { platform }: { readonly platform?: Platform | undefined },
): Promise<StoredRelease | undefined> {
  if (releases === undefined || !isRepositoryReference(reference)) return undefined;
  return openIfRelease(reference, { ...environment, ...releases }, { platform, signal: environment.signal });
}

async function sealedSide(
  name: string,
  data: Source,
  device: Source,
  rootHash: Uint8Array,
  { blockHasher }: OpenSideEnvironment,
): Promise<DiffInput> {
  const { image } = await openSealedRoot(data, device, rootHash, blockHasher);
  return { name, root: await readTree(image), image: { data: image.source, hashTree: { device, rootHash } } };
}
