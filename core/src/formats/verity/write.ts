/** Makes hash trees and hash devices, byte for byte as `veritysetup format` does. */
import { alignUp, bytesOf, fromUtf8, parseUuid } from "../../bytes/index.ts";
import { type BlockHasher, DIGEST_SIZES } from "../../hash/index.ts";
import { passingChunksOf, type Sink, type Source } from "../../source/index.ts";
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
  const level = emptyLeafLevel(dataBlocks, parameters);
  level.set(leaves);
  return buildTreeOver(level, dataBlocks, parameters, hasher);
}

/** Room for the digests of all data blocks, as whole hash blocks of zeros; of one data block there is just its digest. */
export function emptyLeafLevel(dataBlocks: number, parameters: VerityParameters): Uint8Array {
  const [lowest] = layoutHashTree(dataBlocks, parameters).levels;
  return new Uint8Array(
    lowest === undefined ? DIGEST_SIZES[parameters.algorithm] : lowest.blocks * parameters.hashBlockSize,
  );
}

/** As {@link buildHashTree}, of an {@link emptyLeafLevel} that was filled in, which becomes part of the tree: no copy is made. */
export async function buildTreeOver(
  leafLevel: Uint8Array,
  dataBlocks: number,
  parameters: VerityParameters,
  hasher: BlockHasher,
): Promise<HashTree> {
  const levels: Uint8Array[] = [];
  let digests = leafLevel;
  for (const { blocks } of layoutHashTree(dataBlocks, parameters).levels) {
    let level = digests;
    if (levels.length > 0) {
      level = new Uint8Array(blocks * parameters.hashBlockSize);
      level.set(digests); // the tail of the last block stays zero
    }
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
  await sink.write(superblockBlock(tree.parameters, tree.dataBlocks, uuid));
  for (const level of tree.levels.toReversed()) await sink.write(level);
}

function superblockBlock(parameters: VerityParameters, dataBlocks: number, uuid: string): Uint8Array {
  const block = new Uint8Array(parameters.hashBlockSize);
  block.set(encodeVeritySuperblock({ ...parameters, dataBlocks, uuid }));
  return block;
}

/** Bytes of level 0 that are hashed at once; a multiple of every hash block size. */
const LEVEL_CHUNK = 1024 * 1024;

/**
 * Both in one, for leaves of any number (a leaf collector's result): they are read twice, once for the level above them
 * and once to be written. Memory: 1 % of the leaves. Errors as {@link buildHashTree}.
 */
export async function writeHashDevice(
  sink: Sink,
  leaves: Source,
  parameters: VerityParameters,
  hasher: BlockHasher,
  { uuid }: { readonly uuid: string },
): Promise<Pick<HashTree, "dataBlocks" | "rootHash">> {
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const dataBlocks = leaves.size / digestSize;
  if (!Number.isInteger(dataBlocks)) throw new RangeError(`${leaves.size} bytes of leaves are not whole digests`);
  const [lowest] = layoutHashTree(dataBlocks, parameters).levels;
  if (lowest === undefined) {
    const tree = await buildHashTree(await leaves.read(0, leaves.size), parameters, hasher);
    await emitHashDevice(sink, tree, { uuid });
    return tree;
  }
  const above = new Uint8Array(lowest.blocks * digestSize);
  let filled = 0;
  for await (const blocks of levelZero(leaves, parameters)) {
    const digests = await hasher.hashBlocks(blocks, hashBlockHash(parameters));
    above.set(digests, filled);
    filled += digests.length;
  }
  const { levels, rootHash } = await buildHashTree(above, parameters, hasher); // the same tree without its level 0
  await sink.write(superblockBlock(parameters, dataBlocks, uuid));
  for (const level of levels.toReversed()) await sink.write(level);
  for await (const blocks of levelZero(leaves, parameters)) await sink.write(blocks);
  return { dataBlocks, rootHash };
}

/** The leaves in whole hash blocks. */
async function* levelZero(leaves: Source, { hashBlockSize }: VerityParameters): AsyncGenerator<Uint8Array> {
  for await (const digests of passingChunksOf(leaves, { chunkSize: LEVEL_CHUNK })) {
    if (digests.length % hashBlockSize === 0) yield digests;
    else {
      const padded = new Uint8Array(alignUp(digests.length, hashBlockSize)); // only the last one
      padded.set(digests);
      yield padded;
    }
  }
}
