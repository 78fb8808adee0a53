/** Reads a pack by ranges: its seek table, and from that the place of any frame and any leaf digest. See README.md. */
import { equalBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { DIGEST_SIZES } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import {
  LEAVES_FRAME_MAGIC,
  LEAVES_MAGIC,
  MAX_FRAMES,
  MAX_SALT_SIZE,
  PACK_VERSION,
  RawLeavesHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
  SEEK_FRAME_MAGIC,
  SEEK_MAGIC,
  SEEK_RESERVED_BITS,
} from "./format.ts";
import {
  layoutPack,
  leavesFrameSize,
  maxFrameSize,
  type PackShape,
  parseFraming,
  parseParameters,
  seekTableSize,
} from "./shape.ts";

/** One frame of blocks. */
export interface Frame {
  /** Bytes from the start of the blob. */
  readonly offset: number;
  /** Bytes as stored. */
  readonly size: number;
  /** First block of the pack in it. */
  readonly firstBlock: number;
  readonly blocks: number;
}

export interface Pack extends PackShape {
  readonly blocksPerFrame: number;
  readonly frameCount: number;
  frame(index: number): Frame;
  /** Leaf digests of consecutive blocks; nothing of them is verified. */
  readLeaves(first: number, count: number, options?: ReadOptions): Promise<Uint8Array>;
}

function fail(what: string, message: string, offset?: number): never {
  throw new FormatError("bad-pack", `${what}: ${message}`, { offset, path: what });
}

/** The sizes of all frames of blocks, from the bytes of the seek table. Throws FormatError `bad-pack`, `truncated`. */
export function parseSeekTable(bytes: Uint8Array, shape: PackShape, tableStart: number, what: string): Uint32Array {
  const layout = layoutPack(shape, tableStart + bytes.length, what);
  const entries = layout.frames + 1;
  if (bytes.length !== seekTableSize(layout.frames)) fail(what, "the seek table has another size than the pack needs");
  const header = RawSkippableHeader.view(bytes);
  const footer = RawSeekFooter.view(bytes, bytes.length - RawSeekFooter.size);
  if (header.magic !== SEEK_FRAME_MAGIC || footer.magic !== SEEK_MAGIC)
    fail(what, "has no seek table of the zstd seekable format at its end", tableStart);
  if (footer.descriptor !== 0) fail(what, "its seek table has checksums or reserved bits", tableStart);
  if (header.size !== bytes.length - RawSkippableHeader.size || footer.frames !== entries)
    fail(what, `its seek table lists ${footer.frames} frames, ${entries} are expected`, tableStart);
  const sizes = new Uint32Array(layout.frames);
  const { blockSize } = shape.parameters;
  let end = 0;
  for (let i = 0; i < entries; i++) {
    const { compressedSize, decompressedSize } = RawSeekEntry.view(
      bytes,
      RawSkippableHeader.size + i * RawSeekEntry.size,
    );
    const blocks = i === layout.frames ? 0 : Math.min(layout.blocksPerFrame, shape.blocks - i * layout.blocksPerFrame);
    if (decompressedSize !== blocks * blockSize)
      fail(what, `frame ${i} has ${decompressedSize} bytes of blocks, ${blocks * blockSize} are expected`, end);
    if (i === layout.frames) {
      if (compressedSize !== leavesFrameSize(shape)) fail(what, "the frame of digests has another size", end);
    } else {
      if (compressedSize === 0 || compressedSize > maxFrameSize(decompressedSize))
        fail(what, `frame ${i} is stored in ${compressedSize} bytes`, end);
      sizes[i] = compressedSize;
    }
    end += compressedSize;
  }
  if (end !== tableStart) fail(what, `its frames end at ${end}, the seek table starts at ${tableStart}`, tableStart);
  return sizes;
}

/**
 * Opens a pack of which the recipe has told the shape: one range is read. Nothing of a pack is trusted: what it gives is
 * held against the hash tree by whoever asks. Throws FormatError `bad-pack`.
 * @param what names the pack in errors
 */
export async function openPack(source: Source, shape: PackShape, what: string, options?: ReadOptions): Promise<Pack> {
  const layout = layoutPack(shape, source.size, what);
  const table = await source.read(layout.tableStart, source.size - layout.tableStart, options);
  const sizes = parseSeekTable(table, shape, layout.tableStart, what);
  const starts = new Float64Array(sizes.length);
  for (let i = 1; i < sizes.length; i++) starts[i] = starts[i - 1]! + sizes[i - 1]!; // both are in range
  const digestSize = DIGEST_SIZES[shape.parameters.algorithm];
  return {
    ...shape,
    blocksPerFrame: layout.blocksPerFrame,
    frameCount: layout.frames,
    frame(index) {
      const size = sizes[index];
      if (size === undefined) throw new RangeError(`no frame ${index} of ${sizes.length}`);
      const firstBlock = index * layout.blocksPerFrame;
      const blocks = Math.min(layout.blocksPerFrame, shape.blocks - firstBlock);
      return { offset: starts[index]!, size, firstBlock, blocks }; // as many as sizes
    },
    async readLeaves(first, count, readOptions) {
      if (first < 0 || count < 0 || first + count > shape.blocks)
        throw new RangeError(`no leaves ${first} to ${first + count} of ${shape.blocks}`);
      return source.read(layout.firstLeaf + first * digestSize, count * digestSize, readOptions);
    },
  };
}

/**
 * What a pack says of itself, for who has no recipe. Throws FormatError `bad-pack`, `truncated`; UnsupportedError
 * `pack-version`, `pack-algorithm`.
 */
export async function readPackShape(source: Source, what: string, options?: ReadOptions): Promise<PackShape> {
  if (source.size < RawSeekFooter.size) fail(what, `${source.size} bytes hold no pack`);
  const footer = RawSeekFooter.view(await source.read(source.size - RawSeekFooter.size, RawSeekFooter.size, options));
  if (footer.magic !== SEEK_MAGIC || (footer.descriptor & SEEK_RESERVED_BITS) !== 0)
    fail(what, "has no seek table of the zstd seekable format at its end", source.size - RawSeekFooter.size);
  if (footer.descriptor !== 0 || footer.frames < 2 || footer.frames > MAX_FRAMES + 1)
    fail(what, `a seek table of ${footer.frames} frames is not one of a pack`);
  const tableStart = source.size - seekTableSize(footer.frames - 1);
  if (tableStart < RawSkippableHeader.size) fail(what, `${source.size} bytes hold no pack of ${footer.frames} frames`);
  // The last entry is that of the digests.
  const last = await source.read(source.size - RawSeekFooter.size - RawSeekEntry.size, RawSeekEntry.size, options);
  const leavesStart = tableStart - RawSeekEntry.view(last).compressedSize;
  if (leavesStart < 0) fail(what, "its digests start before it");
  const length = Math.min(RawSkippableHeader.size + RawLeavesHeader.size + MAX_SALT_SIZE, tableStart - leavesStart);
  return parseLeavesHeader(await source.read(leavesStart, length, options), what);
}

function parseLeavesHeader(bytes: Uint8Array, what: string): PackShape {
  const header = RawLeavesHeader.view(bytes, RawSkippableHeader.size);
  if (RawSkippableHeader.view(bytes).magic !== LEAVES_FRAME_MAGIC || !equalBytes(header.magic, LEAVES_MAGIC))
    fail(what, "has no frame of leaf digests in front of its seek table");
  if (header.version !== PACK_VERSION)
    throw new UnsupportedError("pack-version", `${what}: packs of version ${header.version} are not implemented`);
  const saltStart = RawSkippableHeader.size + RawLeavesHeader.size;
  if (saltStart + header.saltSize > bytes.length) fail(what, `a salt of ${header.saltSize} bytes does not fit`);
  const salt = bytes.subarray(saltStart, saltStart + header.saltSize);
  const parameters = parseParameters(header, salt, "bad-pack", what);
  const { blocks } = header;
  if (blocks < 1) fail(what, "has no blocks");
  return { parameters, blocks, ...parseFraming(header, "bad-pack", what) };
}
