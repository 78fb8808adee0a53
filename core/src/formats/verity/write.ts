/** Makes hash trees and hash devices, byte for byte as `veritysetup format` does. */
import { bytesOf, fromUtf8, parseUuid } from "../../bytes/index.ts";
import { type BlockHasher, DIGEST_SIZES } from "../../hash/index.ts";
import type { Sink } from "../../source/index.ts";
import { HASH_TYPE_NORMAL, RawVeritySuperblock, SUPERBLOCK_MAGIC, SUPERBLOCK_VERSION } from "./format.ts";
import { assertVerityParameters, hashBlockHash, layoutHashTree, type VerityParameters } from "./geometry.ts";
import type { VeritySuperblock } from "./read.ts";

/** The 512 bytes of the superblock. Throws RangeError for parameters out of bounds, FormatError `bad-uuid`. */
export function encodeVeritySuperblock(superblock: VeritySuperblock): Uint8Array {
  assertVerityParameters(superblock, superblock.dataBlocks);
  return RawVeritySuperblock.encode({
    magic: SUPERBLOCK_MAGIC,
    version: SUPERBLOCK_VERSION,
    hashType: HASH_TYPE_NORMAL,
    uuid: parseUuid(superblock.uuid),
    algorithm: bytesOf(fromUtf8(superblock.algorithm)),
    dataBlockSize: superblock.dataBlockSize,
    hashBlockSize: superblock.hashBlockSize,
    dataBlocks: superblock.dataBlocks,
    saltSize: superblock.salt.length,
    reserved: new Uint8Array(0),
    salt: superblock.salt,
    reserved2: new Uint8Array(0),
  });
}

export interface HashTree {
  readonly parameters: VerityParameters;
  /** Blocks. */
  readonly dataBlocks: number;
  /** Whole hash blocks of each level; index 0 holds the digests of the data blocks. Empty for one data block. */
  readonly levels: readonly Uint8Array[];
  /** The digest of the only block of the last level; of the data block itself where there is just one. */
  readonly rootHash: Uint8Array;
}

/**
 * Builds the tree over `leaves`, the digests of the data blocks one after the other (a leaf collector's result).
 * Keeps `parameters`. Memory: one copy of the leaves and 1 % more. Throws RangeError where there is no leaf or part of one.
 */
export async function buildHashTree(
  leaves: Uint8Array,
  parameters: VerityParameters,
  hasher: BlockHasher,
): Promise<HashTree> {
  const dataBlocks = leaves.length / DIGEST_SIZES[parameters.algorithm];
  if (!Number.isInteger(dataBlocks)) throw new RangeError(`${leaves.length} bytes of leaves are not whole digests`);
  const layout = layoutHashTree(dataBlocks, parameters);
  const levels: Uint8Array[] = [];
  let digests = leaves;
  for (const { blocks } of layout.levels) {
    const level = new Uint8Array(blocks * parameters.hashBlockSize);
    level.set(digests); // the tail of the last block stays zero
    levels.push(level);
    digests = await hasher.hashBlocks(level, hashBlockHash(parameters));
  }
  return { parameters, dataBlocks, levels, rootHash: new Uint8Array(digests) };
}

/**
 * Writes the hash device to `sink`: the superblock in a hash block of its own, then the levels, the top first.
 * `hashDeviceSize` tells how many bytes that are.
 */
export async function emitHashDevice(sink: Sink, tree: HashTree, { uuid }: { readonly uuid: string }): Promise<void> {
  const { parameters, dataBlocks } = tree;
  const first = new Uint8Array(parameters.hashBlockSize);
  first.set(encodeVeritySuperblock({ ...parameters, dataBlocks, uuid }));
  await sink.write(first);
  for (const level of tree.levels.toReversed()) await sink.write(level);
}
