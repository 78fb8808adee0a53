/** The root of a slot, every block checked against its root hash; what the disk does not give back comes from the release. */
import { fromHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { verifiedSource } from "../../formats/verity/index.ts";
import type { BlockHasher } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { partitionSource } from "../disk/index.ts";
import type { StoredRelease } from "../publish/index.ts";
import type { Device, Slot } from "../update/index.ts";

/** The release with that root, where it can be had; undefined where it cannot. */
export type FindRelease = () => Promise<StoredRelease | undefined>;

export async function sealedRoot(
  device: Device,
  slot: Slot,
  rootHash: string,
  hasher: BlockHasher,
  findRelease: FindRelease = async () => undefined,
): Promise<Source> {
  const openHere = () => {
    const [root, hashes] = [partitionSource(device, slot.root), partitionSource(device, slot.verity)];
    return verifiedSource(root, hashes, fromHex(rootHash), { hasher });
  };
  /** Of the same root hash, and as closely checked. */
  async function openThere(): Promise<Source | undefined> {
    const stored = await findRelease();
    return stored?.release.rootHash === rootHash ? (await stored.sources()).data : undefined;
  }
  let there: Promise<Source | undefined> | undefined;
  async function orThere<T>(action: () => Promise<T>, instead: (source: Source) => T | Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      there ??= openThere();
      const source = await there;
      if (source === undefined) throw error;
      return instead(source);
    }
  }
  const here = await orThere(openHere, (source) => source);
  const { size } = here;
  return {
    size,
    read: (offset, length, options?: ReadOptions) =>
      orThere(
        () => here.read(offset, length, options),
        (source) => source.read(offset, length, options),
      ),
  };
}
