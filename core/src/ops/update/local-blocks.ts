/**
 * Blocks of a new root that the slots of the device have already: in their places, elsewhere in the inactive slot, or in
 * the running one. Digests say where they are; every block is held against its own before it counts, so that a disk that
 * gives errors or other bytes costs no more than fetching the block.
 */
import { isAshlarError } from "../../errors/index.ts";
import { dataBlockHash, sameDigest, type VerityParameters } from "../../formats/verity/index.ts";
import { type BlockHasher, type BlockHashParameters, DIGEST_SIZES } from "../../hash/index.ts";
import { fillFrom, type ReadOptions, type Source } from "../../source/index.ts";
import { type Device, readTolerantly } from "./device.ts";
import type { SlotRoot } from "./slot-root.ts";

/** Bytes that are read, hashed and written at once. */
const CHUNK_SIZE = 1024 * 1024;

/** The new root, and where it goes. */
export interface Target {
  readonly device: Device;
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes of the partition, all of which may hold blocks of what was there. */
  readonly size: number;
  readonly parameters: VerityParameters;
  /** Digests of all blocks of the new root. */
  readonly leaves: Uint8Array;
}

export interface LocalEnvironment extends ReadOptions {
  readonly blockHasher: BlockHasher;
  /** @param amount bytes that were looked at since the last call */
  readonly onProgress?: ((amount: number) => void) | undefined;
}

export interface LocalBlocks {
  /** For each block of the new root 1 where it is right. */
  readonly there: Uint8Array;
  /** Blocks that were in their places, and blocks that were copied there. */
  readonly kept: number;
  copied: number;
}

/** Which blocks of the new root have a digest, whatever number of them. */
interface LeafIndex {
  /** The first block with the digest at `at` of `digests`; -1 where none has it. */
  find(digests: Uint8Array, at: number): number;
}

/** 8 bytes a block, and the digests stay where they are. */
function indexLeaves(leaves: Uint8Array, digestSize: number): LeafIndex {
  const count = leaves.length / digestSize;
  const table = new Int32Array(2 ** Math.ceil(Math.log2(count * 2 + 1))); // number of a block and 1; 0 is free
  const mask = table.length - 1;
  function slotOf(digests: Uint8Array, at: number): number {
    // Digests are uniform already: their first bytes do as a hash.
    let slot = (digests[at]! | (digests[at + 1]! << 8) | (digests[at + 2]! << 16) | (digests[at + 3]! << 24)) & mask;
    for (;;) {
      const number = table[slot]!; // slot is masked
      if (number === 0 || sameDigest(leaves, (number - 1) * digestSize, digests, at, digestSize)) return slot;
      slot = (slot + 1) & mask;
    }
  }
  for (let block = 0; block < count; block++) {
    const slot = slotOf(leaves, block * digestSize);
    if (table[slot] === 0) table[slot] = block + 1;
  }
  return { find: (digests, at) => table[slotOf(digests, at)]! - 1 };
}

/** Which block of which slot is to be copied where, by the first block of the new root with that digest. */
export interface Survey extends LocalBlocks {
  readonly index: LeafIndex;
  /** Block of the inactive slot and 1; 0 for none. */
  readonly inactive: Int32Array;
  /** Block of the running slot and 1; 0 for none. */
  readonly running: Int32Array;
}

/**
 * Looks at what the inactive slot holds, block by block, and writes nothing.
 * @param reach blocks of the slot that may hold something
 */
export async function surveyTarget(target: Target, reach: number, environment: LocalEnvironment): Promise<Survey> {
  const { leaves, parameters } = target;
  const hash = dataBlockHash(parameters);
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const count = leaves.length / digestSize;
  const index = indexLeaves(leaves, digestSize);
  const there = new Uint8Array(count);
  const inactive = new Int32Array(count);
  let kept = 0;
  const blocks = Math.min(Math.max(reach, count), Math.floor(target.size / hash.blockSize));
  const slot = windowOf(target, blocks * hash.blockSize);
  for await (const { block, digests } of digestsOf(slot, hash, environment))
    for (let i = 0; i * digestSize < digests.length; i++) {
      if (block + i < count && sameDigest(digests, i * digestSize, leaves, (block + i) * digestSize, digestSize)) {
        there[block + i] = 1;
        kept++;
      }
      const first = index.find(digests, i * digestSize);
      if (first >= 0 && inactive[first] === 0) inactive[first] = block + i + 1;
    }
  return { there, kept, copied: 0, index, inactive, running: new Int32Array(count) };
}

/** Notes which blocks the running slot has. Where its digests are made in another way its blocks are hashed anew. */
export async function surveyRunning(
  survey: Survey,
  { leaves, parameters }: Target,
  root: SlotRoot,
  environment: LocalEnvironment,
): Promise<void> {
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const note = (block: number, digests: Uint8Array) => {
    for (let i = 0; i * digestSize < digests.length; i++) {
      const first = survey.index.find(digests, i * digestSize);
      if (first >= 0 && survey.running[first] === 0) survey.running[first] = block + i + 1;
    }
  };
  const count = leaves.length / digestSize;
  if (survey.kept === count) return;
  if (!root.hasSameHash(parameters)) {
    for await (const { block, digests } of digestsOf(root.data, dataBlockHash(parameters), environment))
      note(block, digests);
    return;
  }
  const buffer = new Uint8Array(CHUNK_SIZE); // whole digests, whatever their size
  for (let at = 0; at < root.leaves.size; at += buffer.length) {
    environment.signal?.throwIfAborted();
    const digests = buffer.subarray(0, Math.min(buffer.length, root.leaves.size - at));
    if (await fill(root.leaves, at, digests)) note(at / digestSize, digests);
  }
}

/** Where a block of the new root is to be had, as blocks of the slots. */
export function placesOf(
  { there, index, inactive, running }: Survey,
  { leaves, parameters }: Target,
  block: number,
): { readonly inactive: number | undefined; readonly running: number | undefined } {
  const first = index.find(leaves, block * DIGEST_SIZES[parameters.algorithm]);
  const placeOf = (number: number | undefined) => (number === undefined || number === 0 ? undefined : number - 1);
  return { inactive: there[block] === 1 ? block : placeOf(inactive[first]), running: placeOf(running[first]) };
}

function windowOf({ device, start }: Target, size: number): Source {
  return {
    size,
    read: (offset, length, options) => device.read(start + offset, length, options),
    ...(device.readInto === undefined ? {} : { readInto: (offset, bytes) => device.readInto?.(start + offset, bytes) }),
  };
}

/** Digests of what is there, a chunk at a time. A block that cannot be read has the digest of zeros, which it will not keep. */
async function* digestsOf(
  source: Source,
  hash: BlockHashParameters,
  { blockHasher, signal, onProgress }: LocalEnvironment,
): AsyncGenerator<{ readonly block: number; readonly digests: Uint8Array }> {
  const step = Math.max(hash.blockSize, CHUNK_SIZE);
  const buffer = new Uint8Array(step);
  const whole = source.size - (source.size % hash.blockSize);
  for (let at = 0; at < whole; at += step) {
    signal?.throwIfAborted();
    const filled = buffer.subarray(0, Math.min(step, whole - at));
    const failed = await readBlocks(source, at, filled, hash.blockSize);
    const digests = await blockHasher.hashBlocks(filled, hash);
    const digestSize = DIGEST_SIZES[hash.algorithm];
    for (const block of failed) digests.fill(0, block * digestSize, (block + 1) * digestSize); // the digest of nothing
    yield { block: at / hash.blockSize, digests };
    onProgress?.(filled.length);
  }
}

/** Fills `target`; where that fails, block by block. Returns the blocks that cannot be read. */
async function readBlocks(
  source: Source,
  at: number,
  target: Uint8Array,
  blockSize: number,
): Promise<readonly number[]> {
  if (await fill(source, at, target)) return [];
  const failed: number[] = [];
  for (let block = 0; block * blockSize < target.length; block++)
    if (!(await fill(source, at + block * blockSize, target.subarray(block * blockSize, (block + 1) * blockSize))))
      failed.push(block);
  return failed;
}

async function fill(source: Source, at: number, target: Uint8Array): Promise<boolean> {
  try {
    await fillFrom(source, at, target);
    return true;
  } catch (error) {
    if (isAshlarError(error) && error.kind === "SourceError") return false;
    throw error;
  }
}

/**
 * Copies what the slots have to its places. What moves inside of the inactive slot goes first, each block before it is
 * written over; of blocks that wait for each other in a circle one is held in memory.
 */
export async function copyLocalBlocks(
  survey: Survey,
  target: Target,
  running: SlotRoot | undefined,
  environment: LocalEnvironment,
): Promise<void> {
  await moveBlocks(survey, target, environment);
  if (running !== undefined) await copyBlocks(survey, target, running.data, environment);
}

async function moveBlocks(survey: Survey, target: Target, { blockHasher, signal }: LocalEnvironment): Promise<void> {
  const { there, index, inactive, running } = survey;
  const { leaves, parameters } = target;
  const hash = dataBlockHash(parameters);
  const { blockSize } = hash;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const moves = new Map<number, number>(); // target block → block of the slot
  for (let block = 0; block < there.length; block++) {
    if (there[block] === 1) continue;
    const first = index.find(leaves, block * digestSize);
    if (running[first] === 0 && inactive[first] !== 0) moves.set(block, inactive[first]! - 1);
  }
  const waiting = new Map<number, number>(); // block of the slot → moves that still read it
  for (const from of moves.values()) waiting.set(from, (waiting.get(from) ?? 0) + 1);
  const held = new Map<number, Uint8Array>();

  const read = async (block: number): Promise<Uint8Array | undefined> =>
    held.get(block) ?? (await readTolerantly(target.device, target.start + block * blockSize, blockSize));

  async function move(block: number): Promise<number | undefined> {
    signal?.throwIfAborted();
    const from = moves.get(block)!; // callers take keys
    moves.delete(block);
    const bytes = await read(from);
    if (bytes !== undefined) {
      const digest = await blockHasher.hashBlocks(bytes, hash);
      if (sameDigest(digest, 0, leaves, block * digestSize, digestSize)) {
        await target.device.writeAt(target.start + block * blockSize, bytes);
        there[block] = 1;
        survey.copied++;
      }
    }
    const left = waiting.get(from)! - 1; // counted above
    waiting.set(from, left);
    if (left > 0) return undefined;
    held.delete(from);
    return moves.has(from) ? from : undefined;
  }

  const isFree = (block: number) => (waiting.get(block) ?? 0) === 0 || held.has(block);
  const free = [...moves.keys()].filter(isFree);
  while (moves.size > 0) {
    let block = free.pop();
    if (block === undefined) {
      block = moves.keys().next().value!; // there is one, and it waits in a circle
      const bytes = await read(block);
      held.set(block, bytes === undefined ? new Uint8Array(blockSize) : Uint8Array.from(bytes));
    }
    for (let next: number | undefined = block; next !== undefined; ) next = await move(next);
  }
}

async function copyBlocks(
  survey: Survey,
  target: Target,
  data: Source,
  { blockHasher, signal }: LocalEnvironment,
): Promise<void> {
  const { there, index, running } = survey;
  const { device, leaves, parameters } = target;
  const hash = dataBlockHash(parameters);
  const { blockSize } = hash;
  const digestSize = DIGEST_SIZES[parameters.algorithm];
  const most = Math.max(1, CHUNK_SIZE / blockSize);
  const buffer = new Uint8Array(most * blockSize);
  const sourceOf = (block: number): number =>
    block >= there.length || there[block] === 1 ? -1 : running[index.find(leaves, block * digestSize)]! - 1;
  for (let block = 0; block < there.length; ) {
    signal?.throwIfAborted();
    const from = sourceOf(block);
    if (from < 0 || (from + 1) * blockSize > data.size) {
      block++;
      continue;
    }
    let count = 1;
    while (count < most && sourceOf(block + count) === from + count && (from + count + 1) * blockSize <= data.size)
      count++;
    const bytes = buffer.subarray(0, count * blockSize);
    const failed = new Set(await readBlocks(data, from * blockSize, bytes, blockSize));
    const digests = await blockHasher.hashBlocks(bytes, hash);
    const isRight = (i: number) =>
      i < count && !failed.has(i) && sameDigest(digests, i * digestSize, leaves, (block + i) * digestSize, digestSize);
    for (let i = 0; i < count; i++) {
      if (!isRight(i)) continue;
      let end = i + 1;
      while (isRight(end)) end++;
      await device.writeAt(target.start + (block + i) * blockSize, bytes.subarray(i * blockSize, end * blockSize));
      there.fill(1, block + i, block + end);
      survey.copied += end - i;
      i = end;
    }
    block += count;
  }
}

/** The first block of the slot that is not what the new root has there; undefined where all of it is right. */
export async function firstWrongBlock(target: Target, environment: LocalEnvironment): Promise<number | undefined> {
  const hash = dataBlockHash(target.parameters);
  const digestSize = DIGEST_SIZES[hash.algorithm];
  const count = target.leaves.length / digestSize;
  const slot = windowOf(target, count * hash.blockSize);
  for await (const { block, digests } of digestsOf(slot, hash, environment))
    for (let i = 0; i * digestSize < digests.length; i++)
      if (!sameDigest(digests, i * digestSize, target.leaves, (block + i) * digestSize, digestSize)) return block + i;
  return undefined;
}
