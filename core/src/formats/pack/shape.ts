/** Where everything in a pack lies: pure arithmetic from the number of blocks and the size of the blob. */
import { isPowerOfTwo } from "../../bytes/index.ts";
import type { BranchFilter } from "../../codecs/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type BlockHashParameters, DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import {
  ALGORITHM_NUMBERS,
  FILTERS,
  FRAME_SIZE,
  MAX_BLOCK_SIZE,
  MAX_FRAME_SCALE,
  MAX_FRAMES,
  MAX_SALT_SIZE,
  MIN_BLOCK_SIZE,
  RawLeavesHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
} from "./format.ts";

/** What a pack holds. */
export interface PackShape {
  /** How the leaf digests are made; the salt is that of the hash tree. */
  readonly parameters: BlockHashParameters;
  /** At least one. */
  readonly blocks: number;
  /** 0 to {@link MAX_FRAME_SCALE}: a frame has {@link FRAME_SIZE} bytes of blocks times two to this power. */
  readonly frameScale: number;
  /** What the blocks of each frame went through before they were compressed. */
  readonly filter: BranchFilter | undefined;
}

export interface PackLayout {
  /** Blocks in every frame but the last. */
  readonly blocksPerFrame: number;
  /** Frames of blocks. */
  readonly frames: number;
  /** Bytes from the start of the blob to the frame of leaf digests, which is where the last frame of blocks ends. */
  readonly leavesStart: number;
  /** Bytes from the start of the blob to the first leaf digest. */
  readonly firstLeaf: number;
  /** Bytes from the start of the blob to the seek table. */
  readonly tableStart: number;
}

export function blocksPerFrame({ parameters, frameScale }: Pick<PackShape, "parameters" | "frameScale">): number {
  return Math.max(1, (FRAME_SIZE * 2 ** frameScale) / parameters.blockSize);
}

/** The most bytes that `size` bytes take as a zstd frame: stored blocks of 128 KiB with three bytes each, and headers. */
export function maxFrameSize(size: number): number {
  return size + Math.ceil(size / (128 * 1024)) * 3 + 64;
}

/** Bytes of the frame of leaf digests. */
export function leavesFrameSize({ parameters, blocks }: Pick<PackShape, "parameters" | "blocks">): number {
  const { salt, algorithm } = parameters;
  return RawSkippableHeader.size + RawLeavesHeader.size + salt.length + blocks * DIGEST_SIZES[algorithm];
}

/** Bytes of the seek table for `frames` frames of blocks and the one of leaf digests. */
export function seekTableSize(frames: number): number {
  return RawSkippableHeader.size + (frames + 1) * RawSeekEntry.size + RawSeekFooter.size;
}

/** @param size bytes of the blob. Throws FormatError `bad-pack` where that many blocks cannot be in it. */
export function layoutPack(shape: PackShape, size: number, what: string): PackLayout {
  const perFrame = blocksPerFrame(shape);
  const frames = Math.ceil(shape.blocks / perFrame);
  if (frames < 1 || frames > MAX_FRAMES)
    throw new FormatError(
      "bad-pack",
      `${what}: a pack of ${shape.blocks} blocks; 1 to ${MAX_FRAMES * perFrame} can be`,
    );
  const tableStart = size - seekTableSize(frames);
  const leavesStart = tableStart - leavesFrameSize(shape);
  if (leavesStart < frames)
    throw new FormatError("bad-pack", `${what}: ${size} bytes hold no pack of ${shape.blocks} blocks`, {
      actual: size,
    });
  const firstLeaf = leavesStart + RawSkippableHeader.size + RawLeavesHeader.size + shape.parameters.salt.length;
  return { blocksPerFrame: perFrame, frames, leavesStart, firstLeaf, tableStart };
}

/** Reads how frames are made, which both formats carry. Throws FormatError `code`, UnsupportedError `pack-filter`. */
export function parseFraming(
  { frameScale, filter: number }: { readonly frameScale: number; readonly filter: number },
  code: string,
  what: string,
): Pick<PackShape, "frameScale" | "filter"> {
  if (frameScale > MAX_FRAME_SCALE)
    throw new FormatError(code, `${what}: a pack with frames of 128 KiB times 2^${frameScale}`);
  if (number >= FILTERS.length)
    throw new UnsupportedError("pack-filter", `${what}: filter ${number} is not implemented`);
  return { frameScale, filter: FILTERS[number] };
}

/** Reads the hash parameters that both formats carry. Throws FormatError `code`, UnsupportedError `pack-algorithm`. */
export function parseParameters(
  fields: { readonly algorithm: number; readonly blockSize: number; readonly saltSize: number },
  salt: Uint8Array,
  code: string,
  what: string,
): BlockHashParameters {
  const { algorithm: number, blockSize, saltSize } = fields;
  if (blockSize < MIN_BLOCK_SIZE || blockSize > MAX_BLOCK_SIZE || !isPowerOfTwo(blockSize))
    throw new FormatError(code, `${what}: block size ${blockSize} is not a power of two in 512 B to 512 KiB`);
  if (saltSize > MAX_SALT_SIZE)
    throw new FormatError(code, `${what}: a salt of ${saltSize} bytes, at most ${MAX_SALT_SIZE} are allowed`);
  const algorithm = (Object.keys(ALGORITHM_NUMBERS) as HashAlgorithm[]).find(
    (name) => ALGORITHM_NUMBERS[name] === number,
  );
  if (algorithm === undefined)
    throw new UnsupportedError("pack-algorithm", `${what}: hash algorithm ${number} is not implemented`);
  return { algorithm, blockSize, salt: new Uint8Array(salt) };
}
