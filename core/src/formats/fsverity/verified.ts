/** fs-verity in user space: a source of which every block is checked before it is handed out. */
import { equalBytes, toHex } from "../../bytes/index.ts";
import { IntegrityError } from "../../errors/index.ts";
import { type BlockHasher, DIGEST_SIZES, type Hashes } from "../../hash/index.ts";
import { assertRange, memorySink, type ReadOptions, type Source } from "../../source/index.ts";
import { assertFsverityParameters, blockHash, type FsverityParameters, layoutMerkleTree } from "./geometry.ts";
import { measurementOf, measureSource } from "./measure.ts";

/** Bytes of checked tree blocks that are remembered. */
const CACHE_SIZE = 4 * 1024 * 1024;

export interface FsveritySourceOptions {
  readonly hashes: Hashes;
  readonly blockHasher: BlockHasher;
  /**
   * The Merkle tree, as it was exported. It need not be trusted. Without one the whole file is read when it is opened,
   * and its tree is kept in memory (32 bytes a block, or 64).
   */
  readonly tree?: Source | undefined;
  /** For messages. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
}

/** Throws IntegrityError `fsverity-digest` unless the digests are the same. */
export function assertFsverityDigest(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (equalBytes(actual, expected)) return;
  throw new IntegrityError(
    "fsverity-digest",
    `${what}: fs-verity digest is ${toHex(actual)}, expected ${toHex(expected)}`,
    { path: what, expected: toHex(expected), actual: toHex(actual) },
  );
}

/**
 * The file as the kernel would show it. Opening throws IntegrityError `fsverity-digest` where the file (or the tree) is
 * not what `digest` names, `fsverity-tree` for a tree of another size; a read throws IntegrityError `fsverity-mismatch`,
 * which names the block. The file may change between two reads and is still never shown wrong.
 */
export async function verifiedFsveritySource(
  source: Source,
  digest: Uint8Array,
  parameters: FsverityParameters,
  options: FsveritySourceOptions,
): Promise<Source> {
  assertFsverityParameters(parameters);
  const { hashes, blockHasher, what, signal } = options;
  const { size } = source;
  const { blockSize } = parameters;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const { levels, size: treeSize } = layoutMerkleTree(size, parameters);
  const hashParameters = blockHash(parameters);
  const tree = options.tree ?? (await buildTree());
  if (tree.size !== treeSize)
    throw new IntegrityError(
      "fsverity-tree",
      `${what}: its Merkle tree has ${tree.size} bytes, ${treeSize} are needed`,
      {
        path: what,
        expected: treeSize,
        actual: tree.size,
      },
    );

  async function buildTree(): Promise<Source> {
    const sink = memorySink();
    const measured = await measureSource(source, parameters, { hashes, blockHasher, tree: sink, signal });
    assertFsverityDigest(measured.digest, digest, what);
    const bytes = sink.bytes();
    return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
  }

  /** Whole blocks, the last one filled up with zeros. */
  async function readBlocks(first: number, count: number, readOptions?: ReadOptions): Promise<Uint8Array> {
    const start = first * blockSize;
    const length = Math.min(count * blockSize, size - start);
    const bytes = await source.read(start, length, readOptions);
    if (length === count * blockSize) return bytes;
    const padded = new Uint8Array(count * blockSize);
    padded.set(bytes);
    return padded;
  }

  // The root hash is the digest of the top block: of the tree, or of the only block of the file.
  const top = levels.length === 0 ? undefined : new Uint8Array(await tree.read(0, blockSize));
  const rootHash =
    size === 0
      ? new Uint8Array(digestSize)
      : await blockHasher.hashBlocks(top ?? (await readBlocks(0, 1, { signal })), hashParameters);
  assertFsverityDigest(measurementOf(parameters, size, rootHash, hashes).digest, digest, what);

  const capacity = Math.max(levels.length, Math.floor(CACHE_SIZE / blockSize));
  const known = new Map<number, Promise<Uint8Array>>(); // by offset in the tree, in order of last use

  function mismatch(shown: string, expected: Uint8Array, actual: Uint8Array): IntegrityError {
    return new IntegrityError("fsverity-mismatch", `${what}: ${shown} does not match its fs-verity digest`, {
      path: what,
      expected: toHex(expected),
      actual: toHex(actual),
    });
  }

  async function loadTreeBlock(level: number, index: number, offset: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(await tree.read(offset, blockSize)); // kept, so copied
    const actual = await blockHasher.hashBlocks(bytes, hashParameters);
    const expected = await digestOf(level + 1, index);
    if (!equalBytes(actual, expected)) throw mismatch(`block ${index} of level ${level} of the tree`, expected, actual);
    return bytes;
  }

  function treeBlock(level: number, index: number): Promise<Uint8Array> {
    const offset = levels[level]!.offset + index * blockSize; // callers stay below levels.length
    let bytes = known.get(offset);
    if (bytes !== undefined) known.delete(offset);
    else {
      bytes = loadTreeBlock(level, index, offset);
      bytes.catch(() => known.delete(offset)); // a failure is not remembered
    }
    known.set(offset, bytes);
    if (known.size > capacity) known.delete(known.keys().next().value!); // not empty
    return bytes;
  }

  /** What block `index` of the level below `level` must hash to. */
  async function digestOf(level: number, index: number): Promise<Uint8Array> {
    if (level === levels.length) return rootHash;
    const perBlock = blockSize / digestSize;
    const bytes = await treeBlock(level, Math.floor(index / perBlock));
    const at = (index % perBlock) * digestSize;
    return bytes.subarray(at, at + digestSize);
  }

  return {
    size,
    async read(offset, length, readOptions) {
      assertRange(offset, length, size);
      if (length === 0) return new Uint8Array(0);
      const first = Math.floor(offset / blockSize);
      const count = Math.floor((offset + length - 1) / blockSize) - first + 1;
      const bytes = await readBlocks(first, count, readOptions);
      const actual = await blockHasher.hashBlocks(bytes, hashParameters);
      for (let i = 0; i < count; i++) {
        const expected = await digestOf(0, first + i);
        const found = actual.subarray(i * digestSize, (i + 1) * digestSize);
        if (!equalBytes(found, expected))
          throw mismatch(`block ${first + i} at byte ${(first + i) * blockSize}`, expected, found);
      }
      const start = offset - first * blockSize;
      return bytes.subarray(start, start + length);
    },
  };
}
