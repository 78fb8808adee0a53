/** Extents of inodes with a record for each: encoded extents (48BIT), whose clusters begin and end at any byte. */
import { FormatError } from "../../errors/index.ts";
import { readSteps, type Source, type Steps } from "../../source/index.ts";
import { type Encoding, type Extent, fragmentExtent, holeExtent, plainExtent } from "./extent.ts";
import {
  ADVISE,
  EXTENT_FORMAT_SHIFT,
  EXTENT_PARTIAL,
  EXTENT_SIZE_MASK,
  RawEncodedExtent,
  RawExtentsStart,
} from "./format-compressed.ts";
import type { ErofsInode } from "./inode.ts";
import type { EncodedMap } from "./map-header.ts";
import { algorithmOf } from "./map-index.ts";
import { showNid } from "./superblock.ts";
import type { Volume } from "./volume.ts";

/** Records that are read at once. */
const BATCH = 256;

interface EncodedRecord {
  /** EXTENT_* bits and bytes. */
  readonly stored: number;
  /** Bytes from the start of the image. */
  readonly start: number;
  /** Bytes from the start of the content. */
  readonly at: number;
}

/** From the extent that holds byte `from` on, which is less than the inode's size. */
export function* encodedExtents(volume: Volume, inode: ErofsInode, map: EncodedMap, from: number): Steps<Extent> {
  const where = `inode ${showNid(inode.nid)}`;
  const metadata = volume.metadataOf(inode);
  const first = map.recordSize > 4 ? map.start : map.start + RawExtentsStart.size;
  if (first + map.count * map.recordSize > metadata.size)
    throw new FormatError("data-out-of-range", `extents of ${where} lie outside the image`, { offset: map.start });
  let at = -1; // of the extent to come
  let record: EncodedRecord | undefined;
  const end = (next: number): number => {
    if (next <= at || next > inode.size)
      throw new FormatError("bad-extents", `extents of ${where} go from byte ${at} to ${next} of ${inode.size}`, {
        offset: map.start,
      });
    return next;
  };
  for (const next of map.recordSize > 8
    ? placedRecords(metadata, map, from, first)
    : evenRecords(metadata, map, from, first)) {
    if (next instanceof Promise) {
      yield next;
      continue;
    }
    if (record !== undefined) yield extentOf(record, end(next.at) - at, false);
    else if (next.at > from) {
      at = 0;
      yield holeExtent(0, end(next.at)); // as the kernel sees what lies before the first record
    }
    record = next;
    ({ at } = next);
  }
  if (record === undefined) yield holeExtent(0, inode.size);
  else yield extentOf(record, end(inode.size) - at, true);

  function extentOf({ stored, start, at }: EncodedRecord, size: number, isLast: boolean): Extent {
    if (isLast && (map.advise & ADVISE.fragment) !== 0) {
      const place = stored + (map.recordSize > 4 ? start * 2 ** 32 : 0);
      if (!Number.isSafeInteger(place))
        throw new FormatError("bad-extents", `a fragment of ${where} lies at ${place}`, { offset: map.start });
      return fragmentExtent(at, size, place);
    }
    const storedSize = stored & EXTENT_SIZE_MASK;
    if (storedSize === 0) return holeExtent(at, size);
    const format = stored >>> EXTENT_FORMAT_SHIFT;
    const isAligned = start % volume.superblock.blockSize === 0 && storedSize % volume.superblock.blockSize === 0;
    const plain: Encoding = (map.advise & ADVISE.interlaced) !== 0 && isAligned ? "interlaced" : "plain";
    return volume.place({
      ...plainExtent(at, size, start),
      storedSize,
      encoding: format === 0 ? plain : algorithmOf(format - 1, where),
      isPartial: (stored & EXTENT_PARTIAL) !== 0,
    });
  }
}

/** Records of 4 and 8 bytes: one for each logical cluster; those of 4 have the sum of the sizes before as their place. */
function* evenRecords(metadata: Source, map: EncodedMap, from: number, first: number): Steps<EncodedRecord> {
  const { recordSize, count } = map;
  const clusterSize = 2 ** map.clusterBits;
  const wanted = Math.floor(from / clusterSize);
  let start = 0;
  if (recordSize <= 4) ({ start } = RawExtentsStart.view(yield* readSteps(metadata, map.start, RawExtentsStart.size)));
  for (let batch = recordSize > 4 ? wanted : 0; batch < count; batch += BATCH) {
    const length = Math.min(BATCH, count - batch);
    const bytes = yield* readSteps(metadata, first + batch * recordSize, length * recordSize);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { storedSize, startLo } = RawEncodedExtent.fields;
    for (let i = 0; i < length; i++) {
      const stored = view.getUint32(i * recordSize + storedSize.offset, true);
      if (recordSize > 4) start = view.getUint32(i * recordSize + startLo.offset, true);
      if (batch + i >= wanted) yield { stored, start, at: (batch + i) * clusterSize };
      if (recordSize === 4) start += stored & EXTENT_SIZE_MASK;
    }
  }
}

/** Records of 16 and 32 bytes, from the last one that begins at `from` or before. */
function* placedRecords(metadata: Source, map: EncodedMap, from: number, first: number): Steps<EncodedRecord> {
  const { recordSize, count } = map;
  function* read(index: number, length: number): Steps<never, EncodedRecord[]> {
    const bytes = yield* readSteps(metadata, first + index * recordSize, length * recordSize);
    return Array.from({ length }, (_, i) => parsePlaced(bytes.subarray(i * recordSize, (i + 1) * recordSize)));
  }
  let low = 0;
  let high = count;
  while (high - low > BATCH) {
    const middle = low + Math.floor((high - low) / 2);
    const [record] = yield* read(middle, 1);
    if (record!.at <= from)
      low = middle; // one record was asked for
    else high = middle;
  }
  let pending: EncodedRecord | undefined;
  let isFound = false;
  for (let batch = low; batch < count; batch += BATCH)
    for (const record of yield* read(batch, Math.min(BATCH, count - batch))) {
      isFound ||= record.at > from;
      if (pending !== undefined && isFound) yield pending;
      pending = record;
    }
  if (pending !== undefined) yield pending;
}

function parsePlaced(record: Uint8Array): EncodedRecord {
  const bytes = new Uint8Array(RawEncodedExtent.size); // shorter records lack the fields behind
  bytes.set(record);
  const { storedSize, startLo, startHi, atLo, atHi } = RawEncodedExtent.view(bytes);
  return { stored: storedSize, start: startLo + startHi * 2 ** 32, at: atLo + atHi * 2 ** 32 };
}
