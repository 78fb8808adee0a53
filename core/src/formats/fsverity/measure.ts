/** The digest of a file, in one pass and constant memory, and its Merkle tree on the way. */
import { alignUp } from "../../bytes/index.ts";
import { type BlockHasher, DIGEST_SIZES, type Hashes, hashInto } from "../../hash/index.ts";
import { passingChunksOf, type RandomSink, type Source } from "../../source/index.ts";
import { ALGORITHM_NUMBERS, DESCRIPTOR_VERSION, RawDescriptor } from "./format.ts";
import { assertFsverityParameters, blockHash, type FsverityParameters, layoutMerkleTree } from "./geometry.ts";

export interface Measurement {
  /** What the kernel's FS_IOC_MEASURE_VERITY gives: the hash of the descriptor. */
  readonly digest: Uint8Array;
  /** The 256 bytes that are hashed into the digest. */
  readonly descriptor: Uint8Array;
}

/** The descriptor of a file, without a signature. */
export function encodeDescriptor(
  { algorithm, blockSize, salt }: FsverityParameters,
  dataSize: number,
  rootHash: Uint8Array,
): Uint8Array {
  return RawDescriptor.encode({
    version: DESCRIPTOR_VERSION,
    algorithm: ALGORITHM_NUMBERS[algorithm],
    blockBits: Math.log2(blockSize),
    saltSize: salt.length,
    signatureSize: 0,
    dataSize,
    rootHash,
    salt,
    reserved: new Uint8Array(0),
  });
}

export function measurementOf(
  parameters: FsverityParameters,
  dataSize: number,
  rootHash: Uint8Array,
  hashes: Hashes,
): Measurement {
  const descriptor = encodeDescriptor(parameters, dataSize, rootHash);
  return { descriptor, digest: hashes.hash(parameters.algorithm, descriptor) };
}

/** Gets each block of the tree once, filled up with zeros, in order within a level. It may be reused afterwards. */
type OnTreeBlock = (level: number, index: number, block: Uint8Array) => void | Promise<void>;

interface Level {
  readonly block: Uint8Array;
  /** Bytes. */
  used: number;
  /** Blocks before this one. */
  flushed: number;
}

/** A block of each level at a time, from the digests of the file's blocks to the root hash. */
class TreeBuilder {
  private readonly levels: Level[] = [];
  private readonly hashed: ReturnType<typeof blockHash>;
  private readonly salted: Uint8Array;
  private readonly hashes: Hashes;
  private onBlock: OnTreeBlock | undefined;
  /** Blocks that `onBlock` has yet to be done with. */
  private pending: Promise<void> | undefined;

  constructor(parameters: FsverityParameters, hashes: Hashes) {
    this.hashed = blockHash(parameters);
    this.salted = new Uint8Array(this.hashed.salt.length + parameters.blockSize);
    this.salted.set(this.hashed.salt);
    this.hashes = hashes;
  }

  /** Begins the tree of another file, in the same memory. */
  begin(onBlock?: OnTreeBlock): void {
    for (const level of this.levels) {
      level.used = 0;
      level.flushed = 0;
    }
    this.onBlock = onBlock;
    this.pending = undefined;
  }

  /** Adds a block of the file, or of the level below; what is missing of it is zeros. */
  addBlock(block: Uint8Array, level = 0): void {
    const { algorithm, salt, blockSize } = this.hashed;
    const here = this.room(level); // first: a full block is hashed then, through the same memory
    let whole = block;
    if (salt.length > 0 || block.length < blockSize) {
      whole = this.salted;
      whole.set(block, salt.length);
      whole.fill(0, salt.length + block.length);
    }
    hashInto(this.hashes, algorithm, whole, here.block, here.used);
    here.used += DIGEST_SIZES[algorithm];
  }

  /** @param digests of blocks of the file, in order */
  add(digests: Uint8Array): void {
    const digestSize = DIGEST_SIZES[this.hashed.algorithm];
    for (let at = 0; at < digests.length; at += digestSize) {
      const here = this.room(0);
      here.block.set(digests.subarray(at, at + digestSize), here.used);
      here.used += digestSize;
    }
  }

  /** The block that the next digest of a level goes into. */
  private room(level: number): Level {
    const { blockSize } = this.hashed;
    this.levels[level] ??= { block: new Uint8Array(blockSize), used: 0, flushed: 0 };
    const here = this.levels[level]!; // set above
    if (here.used === blockSize) this.flush(level); // not before there is more: a full block may be the top one
    return here;
  }

  private flush(level: number): void {
    const here = this.levels[level]!; // the caller's level is there
    here.block.fill(0, here.used);
    if (this.onBlock !== undefined) {
      const copy = here.block.slice();
      const { flushed } = here;
      const before = this.pending ?? Promise.resolve();
      this.pending = before.then(() => this.onBlock?.(level, flushed, copy));
      this.pending.catch(() => {}); // thrown by `settled`
    }
    here.used = 0;
    here.flushed++;
    this.addBlock(here.block, level + 1);
  }

  /** All zeros for a file of no bytes. */
  rootHash(): Uint8Array {
    const digestSize = DIGEST_SIZES[this.hashed.algorithm];
    for (let level = 0; level < this.levels.length; level++) {
      const here = this.levels[level]!; // below the length
      if (here.flushed === 0 && here.used === 0) break; // an empty file
      if (here.flushed === 0 && here.used === digestSize) return here.block.slice(0, digestSize);
      this.flush(level);
    }
    return new Uint8Array(digestSize);
  }

  /** Resolves when `onBlock` is done with every block so far. */
  async settled(): Promise<void> {
    await this.pending;
  }
}

/** Digest of bytes in memory, at once. */
export function measureBytes(bytes: Uint8Array, parameters: FsverityParameters, hashes: Hashes): Measurement {
  assertFsverityParameters(parameters);
  const builder = new TreeBuilder(parameters, hashes);
  addBlocks(builder, bytes, parameters);
  return measurementOf(parameters, bytes.length, builder.rootHash(), hashes);
}

function addBlocks(builder: TreeBuilder, bytes: Uint8Array, { blockSize }: FsverityParameters): void {
  for (let at = 0; at < bytes.length; at += blockSize) builder.addBlock(bytes.subarray(at, at + blockSize));
}

export interface MeasurerOptions {
  readonly hashes: Hashes;
  /** Hashes the blocks of large files. Default: `hashes`, on the calling thread. */
  readonly blockHasher?: BlockHasher | undefined;
  readonly signal?: AbortSignal | undefined;
  /** @param amount bytes hashed since the last call */
  readonly onProgress?: ((amount: number) => void) | undefined;
}

export interface MeasureOptions extends MeasurerOptions {
  /** Gets the Merkle tree, as `layoutMerkleTree` lays it out. */
  readonly tree?: RandomSink | undefined;
}

/** Gives the digest of one source after the other, each read once. Throws what the source throws. */
export type Measurer = (source: Source) => Promise<Uint8Array>;

/**
 * Sources up to this many bytes are read at once and hashed on the calling thread: most files of a system are, and to
 * hand them to another one costs as much as to hash them.
 */
export const SMALL_SOURCE = 256 * 1024;
/** Bytes of a larger one that are read at once; a multiple of every block size. */
const PIECE = 2 * 1024 * 1024;

/** Digest of a source, read once. Throws RangeError for bad parameters, and what the source and the sink throw. */
export async function measureSource(
  source: Source,
  parameters: FsverityParameters,
  { tree, ...options }: MeasureOptions,
): Promise<Measurement> {
  const room = Math.min(2 * PIECE, Math.max(2 * alignUp(source.size, parameters.blockSize), 1));
  const rootHash = await createTreeHasher(parameters, options, room)(source, tree);
  return measurementOf(parameters, source.size, rootHash, options.hashes);
}

/**
 * For many sources: all of them pass through the same memory. New buffers for each would cost more than the hashing, most
 * of it in the garbage collector (measured). Throws RangeError for bad parameters.
 */
export function createMeasurer(parameters: FsverityParameters, options: MeasurerOptions): Measurer {
  const hashTree = createTreeHasher(parameters, options, 2 * PIECE);
  // Descriptors differ in size and root hash only: the table's encoder takes as long as hashing a block.
  const descriptor = encodeDescriptor(parameters, 0, new Uint8Array(0));
  const view = new DataView(descriptor.buffer);
  const { dataSize, rootHash } = RawDescriptor.fields;
  return async (source) => {
    const root = await hashTree(source);
    dataSize.write(view, source.size);
    descriptor.set(root, rootHash.offset);
    return options.hashes.hash(parameters.algorithm, descriptor);
  };
}

/** @param room bytes of memory that sources pass through */
function createTreeHasher(
  parameters: FsverityParameters,
  { hashes, blockHasher, signal, onProgress }: MeasurerOptions,
  room: number,
): (source: Source, tree?: RandomSink) => Promise<Uint8Array> {
  assertFsverityParameters(parameters);
  const { blockSize } = parameters;
  const builder = new TreeBuilder(parameters, hashes);
  const memory = new Uint8Array(room);

  function treeBlocks(sink: RandomSink, size: number): OnTreeBlock {
    const { levels } = layoutMerkleTree(size, parameters);
    // The builder makes the levels of the layout.
    return (level, index, block) => sink.writeAt(levels[level]!.offset + index * blockSize, block);
  }

  async function readSmall(source: Source): Promise<Uint8Array> {
    if (source.readInto === undefined) return source.read(0, source.size, { signal });
    signal?.throwIfAborted();
    const bytes = memory.subarray(0, source.size);
    const filled = source.readInto(0, bytes);
    if (filled !== undefined) await filled;
    return bytes;
  }

  return async (source, tree) => {
    builder.begin(tree && treeBlocks(tree, source.size));
    if (source.size <= SMALL_SOURCE && tree === undefined) {
      addBlocks(builder, await readSmall(source), parameters);
      onProgress?.(source.size);
      return builder.rootHash();
    }
    const chunkSize = Math.min(PIECE, alignUp(source.size, blockSize));
    for await (const chunk of passingChunksOf(source, { signal, chunkSize, memory })) {
      const whole = chunk.length - (chunk.length % blockSize);
      if (blockHasher === undefined) addBlocks(builder, chunk.subarray(0, whole), parameters);
      else if (whole > 0) builder.add(await blockHasher.hashBlocks(chunk.subarray(0, whole), blockHash(parameters)));
      if (whole < chunk.length) builder.addBlock(chunk.subarray(whole));
      await builder.settled();
      onProgress?.(chunk.length);
    }
    const rootHash = builder.rootHash();
    await builder.settled();
    return rootHash;
  };
}
