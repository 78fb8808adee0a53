/** Tree → EROFS image, hash tree and root hash, in one pass over the data. */
import { concatBytes, encodeUtf8, fromHex, parseUuid, type Uuid, uuidFromHash } from "../../bytes/index.ts";
import { writeErofs } from "../../formats/erofs/index.ts";
import {
  hashDeviceSize,
  type LeafCollector,
  leafCollector,
  type VerityParameters,
  writeHashDevice,
} from "../../formats/verity/index.ts";
import type { HashAlgorithm, Hashes } from "../../hash/index.ts";
import { forwardSink } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import type { Artifact } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { writerCompression } from "./compression.ts";
import { firstFiles, type RootForm } from "./form.ts";
import { BLOCK_SIZE, type Landing } from "./landing.ts";
import { productSeed } from "./product.ts";
import { verifyRoot } from "./verify-root.ts";

export { BLOCK_SIZE };

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
  /** How the root is laid out and compressed; by default plain, in whole blocks. */
  readonly form?: Partial<RootForm> | undefined;
  /** Opened on the root artifact with the same parameters; contents may stand there already. */
  readonly landing?: Landing | undefined;
  /**
   * Whether the root is read back and compared with the tree. By default it is, but for the bytes of contents that stand there
   * already: of these the places are compared.
   */
  readonly verify?: boolean | undefined;
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
  const { landing } = options;
  if (landing !== undefined) return sealInto(tree, root, hashDevice, options, environment, landing.leaves);
  const digests = await environment.scratch.create();
  try {
    const leaves = leafCollector(root, environment.blockHasher, options.verity, digests);
    return await sealInto(tree, root, hashDevice, options, environment, leaves);
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
  first: LeafCollector,
): Promise<Sealed> {
  const { hashes, blockHasher, reporter, signal } = environment;
  const { verity, landing } = options;
  const { tails, compression, chunkSize, dataFirst = [] } = options.form ?? {};
  let leaves = first;
  const stored = landing && {
    ...(await landing.finish()),
    withdraw: async () => {
      leaves = await landing.withdraw();
      return leaves;
    },
  };
  let task: ReturnType<typeof reporter.start> | undefined;
  let reported = 0;
  const image = await writeErofs(tree, leaves, {
    blockSize: BLOCK_SIZE,
    tails,
    stored,
    compression: writerCompression(compression, environment),
    chunkSize,
    first: firstFiles(tree, dataFirst),
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
  if (options.verify ?? true) {
    const reading = reporter.start("reading the root back", image.contentSize);
    const { decompressor, crc32 } = environment;
    const back = { decompressor, crc32, landed: landing?.landed, signal, onVerified: reading.advance };
    await verifyRoot(tree, root.source(image.size), back);
    reading.end();
  }
  return {
    rootHash: hashTree.rootHash,
    rootSize: image.size,
    dataBlocks: hashTree.dataBlocks,
    hashDeviceSize: size,
    erofsUuid: image.uuid,
    inodeCount: image.inodeCount,
  };
}
