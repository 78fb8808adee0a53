/** What a slot holds, as its hash device says: nothing of it is verified, whoever takes a block from here looks at it first. */
import { equalBytes } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { layoutHashTree, readVeritySuperblock, type VerityParameters } from "../../formats/verity/index.ts";
import { DIGEST_SIZES } from "../../hash/index.ts";
import { type Source, sliceSource } from "../../source/index.ts";
import type { Slot } from "./slots.ts";

export interface SlotRoot {
  readonly data: Source;
  /** Digests of its blocks. */
  readonly leaves: Source;
  /** Blocks. */
  readonly blocks: number;
  /** Whether digests made with these parameters compare with those of the slot. */
  hasSameHash(parameters: VerityParameters): boolean;
}

/** Undefined where there is no hash device in the slot, or none that fits. */
export async function openSlotRoot(disk: Source, { root, verity }: Slot): Promise<SlotRoot | undefined> {
  try {
    const hashDevice = sliceSource(disk, verity.start, verity.size);
    const superblock = await readVeritySuperblock(hashDevice);
    const { dataBlocks, dataBlockSize, hashBlockSize, algorithm } = superblock;
    const { levels, size } = layoutHashTree(dataBlocks, superblock);
    const [lowest] = levels;
    if (lowest === undefined || size > verity.size || dataBlocks * dataBlockSize > root.size) return undefined;
    return {
      data: sliceSource(disk, root.start, dataBlocks * dataBlockSize),
      leaves: sliceSource(hashDevice, lowest.firstBlock * hashBlockSize, dataBlocks * DIGEST_SIZES[algorithm]),
      blocks: dataBlocks,
      hasSameHash: (parameters) =>
        parameters.algorithm === algorithm &&
        parameters.dataBlockSize === dataBlockSize &&
        equalBytes(parameters.salt, superblock.salt),
    };
  } catch (error) {
    if (isAshlarError(error)) return undefined;
    throw error;
  }
}
