/** The port behind which disks are written: a file or a block device of the host, or one in memory for tests. */
import { isZero } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import type { SectorSize } from "../../formats/gpt/index.ts";
import { passingChunksOf, type RandomSink, type ReadOptions, type Source } from "../../source/index.ts";
import type { CopyOptions } from "../artifacts.ts";

export interface Device extends Source, RandomSink {
  /** For people: the path. */
  readonly name: string;
  /** Bytes of a logical sector. `size` is whole sectors. */
  readonly sectorSize: SectorSize;
  /** Everything that was written before is on the medium when it resolves. */
  flush(): Promise<void>;
  /** After a flush: later reads come from the medium and not from memory. False where the host has no such call. */
  dropCache(): Promise<boolean>;
}

/** What is compared and written at once, and the block in which differences are told, in bytes. */
const CHUNK_SIZE = 1024 * 1024;
const BLOCK_SIZE = 4096;

/** The parts of `wanted` that are not in `there`, as `[start, end)`: whole blocks. */
function* differences(wanted: Uint8Array, there: Uint8Array): Generator<readonly [start: number, end: number]> {
  let start = -1;
  for (let at = 0; at < wanted.length; at += BLOCK_SIZE) {
    const end = Math.min(at + BLOCK_SIZE, wanted.length);
    let same = at;
    while (same < end && wanted[same] === there[same]) same++;
    if (same < end) {
      if (start < 0) start = at;
    } else if (start >= 0) {
      yield [start, at];
      start = -1;
    }
  }
  if (start >= 0) yield [start, wanted.length];
}

/** Reads with one buffer for all chunks: a fresh one for each costs memory until it is collected. */
function chunkReader(device: Source): (offset: number, length: number) => Promise<Uint8Array> {
  const buffer = new Uint8Array(CHUNK_SIZE);
  return async (offset, length) => {
    const filled = buffer.subarray(0, length);
    if (device.readInto === undefined) return device.read(offset, length);
    await device.readInto(offset, filled);
    return filled;
  };
}

/**
 * Makes the device hold `wanted` from byte `at` on. What it holds already is not written, so that a run that broke off is gone
 * on with, blank places of a file stay holes, and nothing wears out for no reason. Returns the bytes written.
 */
export async function bringTo(
  device: Device,
  at: number,
  wanted: Source,
  { signal, onProgress }: CopyOptions = {},
): Promise<number> {
  let position = at;
  let written = 0;
  const read = chunkReader(device);
  for await (const chunk of passingChunksOf(wanted, { signal, chunkSize: CHUNK_SIZE })) {
    const there = await read(position, chunk.length);
    for (const [start, end] of differences(chunk, there)) {
      await device.writeAt(position + start, chunk.subarray(start, end));
      written += end - start;
    }
    position += chunk.length;
    onProgress?.(chunk.length);
  }
  return written;
}

/** `size` bytes of zeros; for {@link bringTo}. */
export function zeroSource(size: number): Source {
  return { size, read: async (_offset, length) => new Uint8Array(length) };
}

/** The first block at which the device does not hold `wanted` from byte `at` on, counted from there. */
export async function firstDifference(
  device: Source,
  at: number,
  wanted: Source,
  { signal }: ReadOptions = {},
): Promise<number | undefined> {
  let done = 0;
  const read = chunkReader(device);
  for await (const chunk of passingChunksOf(wanted, { signal, chunkSize: CHUNK_SIZE })) {
    const there = await read(at + done, chunk.length);
    for (const [start] of differences(chunk, there)) return done + start;
    done += chunk.length;
  }
  return undefined;
}

/** Whether there is nothing but zeros in `length` bytes from `offset` on. */
export async function isBlank(device: Source, offset: number, length: number): Promise<boolean> {
  return isZero(await device.read(offset, length));
}

/** A copy of what is there; undefined where it cannot be read. */
export async function readTolerantly(source: Source, offset: number, length: number): Promise<Uint8Array | undefined> {
  try {
    return await source.read(offset, length);
  } catch (error) {
    if (isAshlarError(error) && error.kind === "SourceError") return undefined;
    throw error;
  }
}
