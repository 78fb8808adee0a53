/**
 * Clusters of at most a given size with a compressor that takes a given input: how much content fits is guessed from the
 * cluster before, and the guess is mended. Lays extents and blocks out as core/assembly/lz4.ts does.
 */
import type { ClusterEncoding, EncodedPieces, Piece } from "./cluster-encoder.ts";

/** A compressor of single zstd frames whose output depends on the input and level alone. */
export interface FrameMaker {
  /** The frame is valid until the next call. */
  compress(content: Uint8Array, level: number): Uint8Array;
}

/** Bytes of content in a frame: the window that Linux allows. */
const MAX_CONTENT = 1024 * 1024;
/** What is guessed for the first cluster of a piece. */
const FIRST_RATIO = 2.5;
/** Guesses aim at this part of the room, since a miss costs more than what is left over. */
const CAUTION = 0.985;
/** Part of the blocks that may be left over without another try. */
const WASTE = 0.007;
/** Tries for a cluster of a few blocks; each costs as much as the first. */
const MAX_TRIES = { small: 6, large: 5 } as const;
const LARGE_CLUSTER = 32 * 1024; // bytes

interface Attempt {
  readonly frame: Uint8Array;
  /** Bytes of content. */
  readonly content: number;
  /** Bytes of blocks. */
  readonly stored: number;
}

/** Encodes `pieces` of `input`; the same contract as `ClusterEncoder`. */
export function encodeFrameClusters(
  input: Uint8Array,
  pieces: readonly Piece[],
  encoding: ClusterEncoding,
  output: Uint8Array,
  makeFrames: () => FrameMaker,
): EncodedPieces {
  const { blockSize } = encoding;
  const extents: number[] = [];
  const kept = new Uint8Array(encoding.clusterSize);
  let used = 0;
  function storeRaw(content: Uint8Array): void {
    output.set(content, used);
    const end = used + Math.ceil(content.length / blockSize) * blockSize;
    output.fill(0, used + content.length, end);
    used = end;
    for (let left = content.length; left > 0; left -= blockSize) extents.push(Math.min(left, blockSize), 2);
  }
  for (const piece of pieces) {
    const content = input.subarray(piece.at, piece.at + piece.size);
    const frames = makeFrames();
    let ratio = FIRST_RATIO;
    for (let at = 0; at < content.length; ) {
      const left = content.length - at;
      const room = blockSize - (at % blockSize); // see encodePiece in core/assembly/lz4.ts
      if (left <= room) {
        storeRaw(content.subarray(at));
        break;
      }
      const made = fillCluster(content.subarray(at, at + MAX_CONTENT), ratio, encoding, frames, kept);
      const isEnd = left <= blockSize && made?.content === left && made.stored <= blockSize;
      if (made === undefined || (!isEnd && !savesEnough(made))) {
        const tried = made?.content ?? encoding.clusterSize;
        const raw =
          left <= blockSize ? room : Math.max(Math.floor(Math.min(tried, left - 1) / blockSize), 1) * blockSize;
        storeRaw(content.subarray(at, at + raw));
        at += raw;
        ratio = FIRST_RATIO;
        continue;
      }
      output.fill(0, used, used + made.stored - made.frame.length);
      output.set(made.frame, used + made.stored - made.frame.length);
      used += made.stored;
      extents.push(made.content, (made.stored / blockSize) * 2 + 1);
      at += made.content;
      ratio = made.content / made.frame.length;
    }
  }
  return { bytes: output.subarray(0, used), extents: Uint32Array.from(extents) };
}

/** As {@link encodeFrameClusters} with packing `bytes`: one try for each part of the content. */
export function encodeFrames(
  input: Uint8Array,
  pieces: readonly Piece[],
  { clusterSize, level }: ClusterEncoding,
  output: Uint8Array,
  makeFrames: () => FrameMaker,
): EncodedPieces {
  const partSize = Math.min(2 * clusterSize, MAX_CONTENT);
  const extents: number[] = [];
  let used = 0;
  for (const piece of pieces) {
    const frames = makeFrames();
    for (let at = piece.at; at < piece.at + piece.size; at += partSize) {
      const part = input.subarray(at, Math.min(at + partSize, piece.at + piece.size));
      const frame = frames.compress(part, level);
      const isSmaller = part.length > frame.length + Math.floor(frame.length / 64);
      const stored = isSmaller ? frame : part;
      output.set(stored, used);
      used += stored.length;
      extents.push(part.length, stored.length * 2 + (isSmaller ? 1 : 0));
    }
  }
  return { bytes: output.subarray(0, used), extents: Uint32Array.from(extents) };
}

function savesEnough({ content, stored }: Attempt): boolean {
  return content > stored + Math.floor(stored / 64);
}

/**
 * The best of a few attempts at the start of `content`; undefined where none fits.
 *
 * @param kept where its frame is put, a cluster's bytes
 */
function fillCluster(
  content: Uint8Array,
  ratio: number,
  { blockSize, clusterSize, level }: ClusterEncoding,
  frames: FrameMaker,
  kept: Uint8Array,
): Attempt | undefined {
  const tries = clusterSize >= LARGE_CLUSTER ? MAX_TRIES.large : MAX_TRIES.small;
  let best: Attempt | undefined;
  let fits = 0; // most content that was seen to fit in as many blocks
  let misses = content.length + 1; // least that was seen not to
  let guess = clamp(clusterSize * ratio * CAUTION, 1, content.length);
  for (let i = 0; i < tries; i++) {
    const frame = frames.compress(content.subarray(0, guess), level);
    const stored = Math.ceil(frame.length / blockSize) * blockSize;
    const density = guess / frame.length;
    if (stored > clusterSize) {
      // What does not compress would not in a smaller part either.
      if (best === undefined && density < 1.02) return { frame, content: guess, stored: Number.POSITIVE_INFINITY };
      misses = guess;
      guess = clamp(clusterSize * density * CAUTION, fits + 1, misses - 1);
    } else {
      fits = guess;
      if (best === undefined || guess * best.stored > best.content * stored) {
        kept.set(frame);
        best = { frame: kept.subarray(0, frame.length), content: guess, stored };
      }
      const free = stored - frame.length;
      if (guess === content.length || free <= stored * WASTE) break;
      guess = clamp(guess + free * density * CAUTION, fits + 1, misses - 1);
    }
    if (guess <= fits || guess >= misses) break;
  }
  return best;
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(Math.floor(value), most));
}
