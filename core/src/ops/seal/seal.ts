/** Tree → EROFS image, hash tree and root hash, in one pass over the data. */
import { concatBytes, encodeUtf8, fromHex, parseUuid, type Uuid, uuidFromHash } from "../../bytes/index.ts";
import { writeErofs } from "../../formats/erofs/index.ts";
import { hashDeviceSize, leafCollector, type VerityParameters, writeHashDevice } from "../../formats/verity/index.ts";
import type { HashAlgorithm, Hashes } from "../../hash/index.ts";
import { forwardSink, type Scratch } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import type { Artifact } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { type RootCompression, writerCompression } from "./compression.ts";
import { productSeed } from "./product.ts";

/** Blocks of the root and of its hash tree, in bytes; the page size of every kernel that must read them. */
export const BLOCK_SIZE = 4096;

/** @param salt hexadecimal; by default one that all releases of the product share, so that their leaves compare */
export function verityParameters(
  hashes: Hashes,
  algorithm: HashAlgorithm,
  product: string,
  salt: string | undefined,
): VerityParameters {
  return {
    algorithm,
    salt: salt === undefined ? productSeed(hashes, product, "verity salt") : fromHex(salt),
    dataBlockSize: BLOCK_SIZE,
    hashBlockSize: BLOCK_SIZE,
  };
}

export interface SealOptions {
  readonly verity: VerityParameters;
  /** Of the verity superblock. Not under the root hash, but in the digest of the hash device. */
  readonly verityUuid: Uuid;
  readonly tails: "blocks" | "inline";
  readonly compression?: RootCompression | undefined;
}

export interface Sealed {
  readonly rootHash: Uint8Array;
  /** Bytes of the EROFS image. */
  readonly rootSize: number;
  readonly dataBlocks: number;
  /** Bytes of the hash device. */
  readonly hashDeviceSize: number;
  readonly erofsUuid: Uuid;
  readonly inodeCount: number;
}

/** Names this use of the hash, so that an EROFS UUID never equals another value made from the same leaves. */
const UUID_PURPOSE = "ashlar\0erofs-uuid\0";

/**
 * Writes the EROFS image of `tree` to `root` and its hash device to `hashDevice`. The EROFS UUID is made from the
 * content: from the superblock and the digests of all other blocks.
 */
export async function sealTree(
  tree: Directory,
  root: Artifact,
  hashDevice: Artifact,
  options: SealOptions,
  environment: Environment,
): Promise<Sealed> {
  const digests = await environment.scratch.create();
  try {
    return await sealInto(tree, root, hashDevice, options, environment, digests);
  } finally {
    await digests.dispose();
  }
}

async function sealInto(
  tree: Directory,
  root: Artifact,
  hashDevice: Artifact,
  options: SealOptions,
  environment: Environment,
  digests: Scratch,
): Promise<Sealed> {
  const { hashes, blockHasher, reporter, signal } = environment;
  const { verity } = options;
  const leaves = leafCollector(root, blockHasher, verity, digests);
  let task: ReturnType<typeof reporter.start> | undefined;
  let reported = 0;
  const image = await writeErofs(tree, leaves, {
    blockSize: BLOCK_SIZE,
    tails: options.tails,
    compression: writerCompression(options.compression, environment),
    hashes,
    signal,
    uuid: async (superblock, size) => {
      const rest = await leaves.digestOfRest(size, hashes);
      const name = hashes.hash("sha256", concatBytes(encodeUtf8(UUID_PURPOSE), superblock, rest));
      return parseUuid(uuidFromHash(name));
    },
    onProgress(done, total) {
      task ??= reporter.start("writing the root", total);
      task.advance(done - reported);
      reported = done;
    },
  });
  await root.setSize(image.size);
  const hashTree = await writeHashDevice(
    forwardSink(hashDevice),
    await leaves.finish(image.size),
    verity,
    blockHasher,
    { uuid: options.verityUuid },
  );
  const size = hashDeviceSize(hashTree.dataBlocks, verity);
  await hashDevice.setSize(size);
  task?.end();
  return {
    rootHash: hashTree.rootHash,
    rootSize: image.size,
    dataBlocks: hashTree.dataBlocks,
    hashDeviceSize: size,
    erofsUuid: image.uuid,
    inodeCount: image.inodeCount,
  };
}
