/**
 * The root inside anything: an EROFS image, a disk, the sealed pair of a release. Recognised by content. Where a root
 * hash is known, every block is checked when it is read.
 */
import { FormatError } from "../../errors/index.ts";
import { type ErofsImage, isErofs, openErofs } from "../../formats/erofs/index.ts";
import { verifiedSource } from "../../formats/verity/index.ts";
import type { BlockHasher } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { findSealedPair, openDisk, partitionSource } from "./disk.ts";

export interface OpenedRoot {
  readonly image: ErofsImage;
  /** The root hash that every read is checked against; undefined for a bare EROFS image. */
  readonly rootHash: Uint8Array | undefined;
}

/** The bytes of a root, not looked into yet. */
export interface RootSource {
  readonly source: Source;
  /** As in {@link OpenedRoot}. */
  readonly rootHash: Uint8Array | undefined;
}

/** The root of a sealed pair, verified as it is read. */
export async function openSealedRoot(
  root: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  hasher: BlockHasher,
): Promise<OpenedRoot> {
  return { image: await openErofs(await verifiedSource(root, hashDevice, rootHash, { hasher })), rootHash };
}

/**
 * @param what names the source in errors
 * Throws FormatError `not-an-image` for what is neither, `no-root` for a disk on which no UKI names a root.
 */
export async function findRoot(
  source: Source,
  what: string,
  hasher: BlockHasher,
  options: ReadOptions = {},
): Promise<RootSource> {
  if (await isErofs(source)) return { source, rootHash: undefined };
  let disk: Awaited<ReturnType<typeof openDisk>>;
  try {
    disk = await openDisk(source, options);
  } catch (error) {
    if (error instanceof FormatError && error.code === "not-gpt")
      throw new FormatError("not-an-image", `${what}: is neither an EROFS image nor a disk with a GPT`, { path: what });
    throw error;
  }
  // systemd-boot starts the greatest version; names of one product sort alike up to the version.
  const uki = disk.ukis.findLast(({ rootHash }) => rootHash !== undefined);
  if (uki?.rootHash === undefined)
    throw new FormatError("no-root", `${what}: no UKI on the disk names a root hash`, { path: what });
  const { rootHash } = uki;
  const pair = findSealedPair(disk.gpt, rootHash);
  const [data, hashDevice] = [partitionSource(source, pair.root), partitionSource(source, pair.verity)];
  return { source: await verifiedSource(data, hashDevice, rootHash, { hasher }), rootHash };
}

/** {@link findRoot}, opened. Throws also what {@link openErofs} throws. */
export async function openRoot(
  source: Source,
  what: string,
  hasher: BlockHasher,
  options: ReadOptions = {},
): Promise<OpenedRoot> {
  const root = await findRoot(source, what, hasher, options);
  return { image: await openErofs(root.source), rootHash: root.rootHash };
}
