/** Fetches a root into a file: every frame once, every block held against its digest before it counts. */
import { IntegrityError } from "../../errors/index.ts";
import type { Repository } from "../../formats/oci/index.ts";
import type { Frame } from "../../formats/pack/index.ts";
import { type BlockHasher, DIGEST_SIZES } from "../../hash/index.ts";
import { passingChunksOf, type RandomSink, type ReadOptions, type Source } from "../../source/index.ts";
import type { DecompressFrame } from "../environment.ts";
import { unpackFrame } from "./damage.ts";
import type { FrameCache } from "./frame-cache.ts";
import type { StoredPack, StoredRoot } from "./stored-root.ts";

/** Frames nearer to each other than this many bytes come in one stream. */
const GAP = 64 * 1024;
const READ_SIZE = 1024 * 1024;

export interface FetchBlocksOptions extends ReadOptions {
  readonly blockHasher: BlockHasher;
  readonly decompressFrame: DecompressFrame;
  /** Blocks of frames that were fetched already; they do not travel again. Not verified. */
  readonly peek?: FrameCache["peek"] | undefined;
  /** Called once, when it is known how many bytes of frames are to be fetched. */
  readonly onStart: (total: number) => void;
  /** @param amount bytes fetched since the last call */
  readonly onProgress: (amount: number) => void;
}

export interface FetchRootOptions extends FetchBlocksOptions {
  /** What an earlier run has left in `target`. */
  readonly left: Source | undefined;
}

export interface FetchedRoot {
  /** Bytes of frames. */
  readonly fetched: number;
  /** Blocks that were there from an earlier run. */
  readonly kept: number;
}

/** Blocks of a pack in a row that are wanted at one place of the root. */
interface Segment {
  readonly first: number;
  readonly count: number;
  readonly start: number;
}

interface WantedFrame extends Frame {
  readonly index: number;
  readonly segments: readonly Segment[];
}

/**
 * @param leaves digests of all blocks, held against the root hash by the caller
 * Throws IntegrityError `verity-mismatch`, naming pack, frame and block; `damaged-pack`.
 */
export async function fetchRoot(
  root: StoredRoot,
  leaves: Uint8Array,
  target: RandomSink,
  options: FetchRootOptions,
): Promise<FetchedRoot> {
  const there = await checkLeft(root, leaves, options);
  if (options.left !== undefined) await clearZeros(root, there, target);
  return { fetched: await fetchFrames(root, leaves, there, target, options), kept: there.kept };
}

/**
 * Fetches the blocks that are not there, and writes zeros where they are wanted and are not. Returns the bytes of frames.
 * Errors as {@link fetchRoot}.
 * @param there for each block of the root 1 where it is right already
 */
export async function fetchBlocks(
  root: StoredRoot,
  leaves: Uint8Array,
  there: Uint8Array,
  target: RandomSink,
  options: FetchBlocksOptions,
): Promise<number> {
  const known = leftOf(there, 0);
  await clearZeros(root, known, target);
  return fetchFrames(root, leaves, known, target, options);
}

async function fetchFrames(
  root: StoredRoot,
  leaves: Uint8Array,
  there: Left,
  target: RandomSink,
  options: FetchBlocksOptions,
): Promise<number> {
  const { blockSize } = root.recipe.parameters;
  const packs: { readonly index: number; readonly stored: StoredPack; readonly frames: readonly WantedFrame[] }[] = [];
  for (const index of root.recipe.packs.keys()) {
    const wanted = root.recipe.runs.filter(({ pack }) => pack === index);
    if (!wanted.some(({ start, count }) => there.missing(start, count))) continue;
    const stored = await root.openPack(index);
    packs.push({ index, stored, frames: framesOf(stored, wanted, there) });
  }
  async function use(frame: WantedFrame, blocks: Uint8Array, what: string): Promise<void> {
    const digests = await options.blockHasher.hashBlocks(blocks, root.recipe.parameters);
    for (const { first, count, start } of frame.segments) {
      const at = first - frame.firstBlock;
      assertDigests(digests, at, leaves, start, count, what, root);
      await target.writeAt(start * blockSize, blocks.subarray(at * blockSize, (at + count) * blockSize));
    }
  }
  const nameOf = (index: number, frame: WantedFrame) => `${root.packName(index)}: frame ${frame.index}`;
  let fetched = 0;
  const missing: typeof packs = [];
  for (const { index, stored, frames } of packs) {
    const left: WantedFrame[] = [];
    for (const frame of frames) {
      const blocks = await options.peek?.(index, frame.index);
      if (blocks === undefined) left.push(frame);
      else {
        await use(frame, blocks, nameOf(index, frame));
        fetched += frame.size;
      }
    }
    missing.push({ index, stored, frames: left });
  }
  options.onStart(missing.flatMap(({ frames }) => frames).reduce((sum, { size }) => sum + size, 0));
  for (const { index, stored, frames } of missing)
    for await (const [frame, bytes] of streamFrames(root, index, stored, frames, options)) {
      const what = nameOf(index, frame);
      await use(frame, unpackFrame(options.decompressFrame, stored.pack, bytes, frame.blocks, what), what);
      fetched += bytes.length;
      options.onProgress(bytes.length);
    }
  return fetched;
}

function assertDigests(
  digests: Uint8Array,
  at: number,
  leaves: Uint8Array,
  start: number,
  count: number,
  what: string,
  { recipe: { parameters } }: StoredRoot,
): void {
  const size = DIGEST_SIZES[parameters.algorithm];
  for (let i = 0; i < count * size; i++)
    if (digests[at * size + i] !== leaves[start * size + i]) {
      const block = start + Math.floor(i / size);
      throw new IntegrityError("verity-mismatch", `${what}: block ${block} of the root does not match the hash tree`, {
        offset: block * parameters.blockSize,
      });
    }
}

interface Left {
  readonly kept: number;
  has(block: number): boolean;
  /** Whether any of these is not there. */
  missing(start: number, count: number): boolean;
}

/** Which blocks an earlier run has left, by their digests: whatever else is in the file counts for nothing. */
async function checkLeft(
  { recipe: { blocks, parameters } }: StoredRoot,
  leaves: Uint8Array,
  { left, blockHasher, signal }: FetchRootOptions,
): Promise<Left> {
  if (left === undefined) return { kept: 0, has: () => false, missing: () => true };
  const { blockSize } = parameters;
  const size = DIGEST_SIZES[parameters.algorithm];
  const there = new Uint8Array(blocks);
  let kept = 0;
  let block = 0;
  const chunkSize = Math.max(blockSize, READ_SIZE);
  for await (const chunk of passingChunksOf(left, { signal, chunkSize })) {
    const whole = Math.min(Math.floor(chunk.length / blockSize), blocks - block);
    const digests = await blockHasher.hashBlocks(chunk.subarray(0, whole * blockSize), parameters);
    for (let i = 0; i < whole; i++, block++) {
      let same = 0;
      while (same < size && digests[i * size + same] === leaves[block * size + same]) same++;
      if (same < size) continue;
      there[block] = 1;
      kept++;
    }
  }
  return leftOf(there, kept);
}

function leftOf(there: Uint8Array, kept: number): Left {
  return {
    kept,
    has: (wanted) => there[wanted] === 1,
    missing: (start, count) => there.subarray(start, start + count).includes(0),
  };
}

/** Writes zeros over what is left where zeros belong; elsewhere the blocks themselves are written over it. */
async function clearZeros(
  { recipe: { runs, parameters } }: StoredRoot,
  there: Left,
  target: RandomSink,
): Promise<void> {
  const zero = new Uint8Array(parameters.blockSize);
  for (const { pack, start, count } of runs) {
    if (pack !== undefined) continue;
    for (let block = start; block < start + count; block++)
      if (!there.has(block)) await target.writeAt(block * parameters.blockSize, zero);
  }
}

/** The frames that hold wanted blocks, in the order of the pack. */
function framesOf(
  { pack }: StoredPack,
  runs: readonly { readonly start: number; readonly count: number; readonly first: number }[],
  there: Left,
): WantedFrame[] {
  const byFrame = new Map<number, Segment[]>();
  for (const { start, count, first } of runs)
    for (let done = 0; done < count; ) {
      const frame = Math.floor((first + done) / pack.blocksPerFrame);
      const length = Math.min(count - done, (frame + 1) * pack.blocksPerFrame - first - done);
      if (there.missing(start + done, length)) {
        const segments = byFrame.get(frame) ?? [];
        segments.push({ first: first + done, count: length, start: start + done });
        byFrame.set(frame, segments);
      }
      done += length;
    }
  return [...byFrame].sort(([a], [b]) => a - b).map(([index, segments]) => ({ ...pack.frame(index), index, segments }));
}

/**
 * The stored bytes of frames, one frame after the other as they arrive, so that whoever stops in between has used all of
 * them but the one that was on its way.
 */
async function* streamFrames(
  { repository, manifest, recipe }: StoredRoot,
  index: number,
  { source }: StoredPack,
  frames: readonly WantedFrame[],
  { signal }: ReadOptions,
): AsyncGenerator<readonly [WantedFrame, Uint8Array]> {
  const descriptor = manifest.packs.find(({ digest }) => digest === recipe.packs[index]?.digest);
  if (repository.openPart === undefined || descriptor === undefined) {
    for (const frame of frames) yield [frame, await source.read(frame.offset, frame.size, { signal })];
    return;
  }
  for (let from = 0; from < frames.length; ) {
    let to = from;
    while (to + 1 < frames.length && frames[to + 1]!.offset - endOf(frames[to]!) <= GAP) to++; // both are in range
    const part = frames.slice(from, to + 1);
    yield* cutFrames(repository, descriptor, part, signal);
    from = to + 1;
  }
}

function endOf({ offset, size }: Frame): number {
  return offset + size;
}

async function* cutFrames(
  repository: Repository,
  descriptor: Parameters<Repository["openBlob"]>[0],
  frames: readonly WantedFrame[],
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly [WantedFrame, Uint8Array]> {
  const start = frames[0]!.offset; // there is one
  const length = endOf(frames.at(-1)!) - start;
  const stream = await repository.openPart!(descriptor, start, length, { signal }); // the caller has looked
  try {
    let position = start; // of the next byte that comes
    let index = 0;
    let bytes = new Uint8Array(frames[0]!.size);
    for await (const chunk of stream.chunks({ signal }))
      for (let at = 0; at < chunk.length; ) {
        const frame = frames[index];
        if (frame === undefined)
          throw new IntegrityError(
            "size-mismatch",
            `${repository.name}: ${descriptor.digest}: more bytes came than were asked for`,
          );
        const skipped = Math.min(frame.offset - position, chunk.length - at);
        if (skipped > 0) {
          at += skipped;
          position += skipped;
          continue;
        }
        const filled = position - frame.offset;
        const part = chunk.subarray(at, at + Math.min(chunk.length - at, frame.size - filled));
        bytes.set(part, filled);
        at += part.length;
        position += part.length;
        if (filled + part.length < frame.size) continue;
        yield [frame, bytes];
        index++;
        bytes = new Uint8Array(frames[index]?.size ?? 0);
      }
    if (index < frames.length)
      throw new IntegrityError("size-mismatch", `${repository.name}: ${descriptor.digest}: ended at ${position}`, {
        expected: start + length,
        actual: position,
      });
  } finally {
    await stream.close();
  }
}
