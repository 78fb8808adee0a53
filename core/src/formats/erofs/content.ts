/** The bytes of an inode, as a Source over its extents. */
import { FormatError } from "../../errors/index.ts";
import {
  assertRange,
  fillFrom,
  finish,
  finishNow,
  piecewiseSource,
  type ReadOptions,
  type Source,
  type Steps,
  sliceSource,
} from "../../source/index.ts";
import { clusterKey, decodeExtent } from "./clusters.ts";
import { type Extent, isCompression } from "./extent.ts";
import type { ErofsInode } from "./inode.ts";
import { checkRange, extentSteps } from "./map.ts";
import { flatExtents } from "./map-flat.ts";
import { showNid } from "./superblock.ts";
import { bufferOf, deviceOf, type Volume } from "./volume.ts";

/** Clusters that follow each other in the image are read together, up to this many bytes. */
const READ_SIZE = 1024 * 1024;

/** As they are and more than this, or a part of more, bytes are read to where they belong; else with their neighbours. */
const DIRECT_SIZE = 64 * 1024;

/** The content of any inode that has some. Flat data that is out of range throws at once, everything else when it is read. */
export function contentOf(volume: Volume, source: Source, inode: ErofsInode): Source {
  if (inode.layout !== "flat-plain" && inode.layout !== "flat-inline") return new ErofsContent(volume, inode);
  const extents = flatExtents(volume, inode);
  if (extents.some(({ space, device }) => space !== "device" || device !== 0)) return new ErofsContent(volume, inode);
  for (const extent of extents) checkRange(volume, inode, extent);
  const [first] = extents;
  if (first !== undefined && extents.length === 1 && !first.isInline)
    return sliceSource(source, first.start, first.size);
  if (source.readInto !== undefined) return new FlatContent(source, volume.metadata, inode.size, extents);
  return piecewiseSource(
    inode.size,
    extents.map(({ at, start, size }) => ({ at, source: sliceSource(source, start, size) })),
  );
}

/** Blocks, and the end of a file that stands behind its inode and so was most likely read with it. */
class FlatContent implements Source {
  readonly size: number;
  private readonly source: Source;
  private readonly metadata: Source;
  private readonly blocksSize: number;
  private readonly blocksStart: number;
  private readonly tailStart: number;

  /** @param extents blocks, tail or both */
  constructor(source: Source, metadata: Source, size: number, extents: readonly Extent[]) {
    const blocks = extents.find(({ isInline }) => !isInline);
    this.size = size;
    this.source = source;
    this.metadata = metadata;
    this.blocksSize = blocks?.size ?? 0;
    this.blocksStart = blocks?.start ?? 0;
    this.tailStart = extents.find(({ isInline }) => isInline)?.start ?? 0;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    assertRange(offset, length, this.size);
    const target = new Uint8Array(length);
    await this.readInto(offset, target);
    return target;
  }

  readInto(offset: number, target: Uint8Array): Promise<void> | undefined {
    assertRange(offset, target.length, this.size);
    const { blocksSize } = this;
    const split = Math.min(target.length, Math.max(0, blocksSize - offset));
    const blocks = split > 0 ? this.source.readInto?.(this.blocksStart + offset, target.subarray(0, split)) : undefined;
    if (split === target.length) return blocks;
    const start = this.tailStart + offset + split - blocksSize;
    const known = this.metadata.readNow?.(start, target.length - split);
    if (known !== undefined) {
      target.set(known, split);
      return blocks;
    }
    const tail = this.metadata.read(start, target.length - split).then((bytes) => target.set(bytes, split));
    return Promise.all([blocks, tail]).then(() => undefined);
  }
}

/** A class, since a tree has one for each of its files. */
class ErofsContent implements Source {
  readonly size: number;
  private readonly volume: Volume;
  private readonly inode: ErofsInode;

  constructor(volume: Volume, inode: ErofsInode) {
    this.size = inode.size;
    this.volume = volume;
    this.inode = inode;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    assertRange(offset, length, this.size);
    const target = new Uint8Array(length);
    await finish(fillSteps(this.volume, this.inode, offset, target, options));
    return target;
  }

  readInto(offset: number, target: Uint8Array): Promise<void> | undefined {
    assertRange(offset, target.length, this.size);
    return finishNow(fillSteps(this.volume, this.inode, offset, target));
  }
}

/** Reads no cluster that the range does not touch, and remembers those that it touches in part. */
function* fillSteps(
  volume: Volume,
  inode: ErofsInode,
  offset: number,
  target: Uint8Array,
  options?: ReadOptions,
): Steps<never> {
  const end = offset + target.length;
  const run: Extent[] = []; // stored one behind the other; to be read together
  let runSize = 0;
  const partOf = ({ at, size }: Extent): Uint8Array =>
    target.subarray(Math.max(0, at - offset), Math.min(target.length, at + size - offset));
  const decodeRun = (first: Extent, stored: Uint8Array): void => {
    for (const extent of run) {
      const from = extent.start - first.start;
      decodePart(volume, inode, extent, stored.subarray(from, from + extent.storedSize), offset, partOf(extent));
    }
    run.length = 0;
    runSize = 0;
  };
  const finishRun = (): Promise<void> | undefined => {
    const first = run[0];
    if (first === undefined) return undefined;
    const source = storedIn(volume, inode, first);
    if (source.readInto === undefined)
      return source.read(first.start, runSize, options).then((stored) => decodeRun(first, stored));
    // Runs take turns with few buffers: fresh ones cost a seventh of the time that an extraction takes (measured).
    const buffer = volume.buffers.pop() ?? bufferOf(volume, READ_SIZE);
    const stored = buffer.subarray(0, runSize);
    const decode = (): void => {
      decodeRun(first, stored);
      volume.buffers.push(buffer); // after an error it is left to the collector
    };
    const pending = source.readInto(first.start, stored);
    if (pending !== undefined) return pending.then(decode);
    decode();
    return undefined;
  };
  if (target.length === 0) return;
  for (const extent of extentSteps(volume, inode, offset)) {
    if (extent instanceof Promise) {
      yield extent;
      continue;
    }
    if (extent.at >= end) break;
    options?.signal?.throwIfAborted();
    const part = partOf(extent);
    const skip = Math.max(0, offset - extent.at);
    if (extent.encoding === "hole") {
      part.fill(0);
      continue;
    }
    if (extent.encoding === "fragment") {
      yield fillFragment(volume, inode, extent.start + skip, part);
      continue;
    }
    checkRange(volume, inode, extent);
    if (extent.encoding === "plain" && (part.length > DIRECT_SIZE || part.length < extent.size)) {
      const space = storedIn(volume, inode, extent);
      const pending =
        space.readInto === undefined
          ? fillFrom(space, extent.start + skip, part, options)
          : space.readInto(extent.start + skip, part); // at once, where it can
      if (pending !== undefined) yield pending;
      continue;
    }
    const known = part.length < extent.size ? volume.clusters.get(clusterKey(extent)) : undefined;
    if (known !== undefined) {
      part.set(known.subarray(skip, skip + part.length));
      continue;
    }
    const last = run.at(-1);
    if (last !== undefined && (!follows(extent, last) || runSize + extent.storedSize > READ_SIZE)) {
      const pending = finishRun();
      if (pending !== undefined) yield pending;
    }
    run.push(extent);
    runSize += extent.storedSize;
  }
  const pending = finishRun();
  if (pending !== undefined) yield pending;
}

function follows(extent: Extent, last: Extent): boolean {
  return extent.space === last.space && extent.device === last.device && extent.start === last.start + last.storedSize;
}

function storedIn(volume: Volume, inode: ErofsInode, extent: Extent): Source {
  return extent.space === "metabox" ? volume.metadataOf(inode) : deviceOf(volume, extent, inode.nid);
}

/** @param offset of the range that is asked for @param part what the range takes of the extent */
function decodePart(
  volume: Volume,
  inode: ErofsInode,
  extent: Extent,
  stored: Uint8Array,
  offset: number,
  part: Uint8Array,
): void {
  if (part.length === extent.size) {
    decodeExtent(volume, inode, extent, stored, part);
    return;
  }
  const whole = new Uint8Array(extent.size);
  decodeExtent(volume, inode, extent, stored, whole);
  if (isCompression(extent.encoding)) volume.clusters.put(clusterKey(extent), whole);
  const skip = Math.max(0, offset - extent.at);
  part.set(whole.subarray(skip, skip + part.length));
}

/** Throws FormatError `fragment-loop`, `fragment-out-of-range`. */
async function fillFragment(volume: Volume, inode: ErofsInode, start: number, part: Uint8Array): Promise<void> {
  if (inode.nid === volume.superblock.packedNid)
    throw new FormatError("fragment-loop", "the packed inode is said to be a fragment of itself", {
      offset: inode.position,
    });
  const packed = await volume.packed();
  if (start + part.length > packed.size)
    throw new FormatError(
      "fragment-out-of-range",
      `a fragment of inode ${showNid(inode.nid)} lies outside the packed inode`,
      { offset: inode.position },
    );
  await fillFrom(packed, start, part);
}
