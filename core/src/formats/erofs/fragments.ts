/** The packed inode on the writing side: ends of files and small files, one behind the other as one content. */
import type { ByteString } from "../../bytes/index.ts";
import { type Piece, piecewiseSource, sliceSource } from "../../source/index.ts";
import { attributes, regularFile } from "../../tree/index.ts";
import type { CompressedExtent } from "./compress-map.ts";
import { RawInodeCompact } from "./format.ts";
import type { InodeTable, PlannedInode } from "./inodes.ts";

const MAX_SIZE = 0xffffffff; // bytes; a compact index has 32 bits for the place of a fragment

/** A file that is a fragment as a whole. Where it is, is known when all are. */
export const WHOLE_FRAGMENT: CompressedExtent = /* @__PURE__ */ Object.freeze({
  kind: "compressed",
  startBlock: 0,
  blocks: 0,
  clusters: /* @__PURE__ */ new Uint32Array(0),
  packing: "blocks",
  algorithm: 0,
  isBig: false,
  fragment: 0,
});

/**
 * The files of `order` whose ends may be fragments, so that whatever becomes of them all have room.
 *
 * @param most bytes that a file may give; 0 where it may give none
 */
export function fragmentCandidates(order: readonly number[], most: (file: number) => number): ReadonlySet<number> {
  const candidates = new Set<number>();
  let sum = 0;
  for (const file of order) {
    const size = most(file);
    if (size === 0 || sum + size > MAX_SIZE) continue;
    candidates.add(file);
    sum += size;
  }
  return candidates;
}

export interface PackedFiles {
  readonly inode: PlannedInode;
  /** Bytes from the start of its content, by file. */
  readonly places: ReadonlyMap<number, number>;
}

/**
 * The inode whose content is the ends of files in the order of `order`, which does not depend on when each was known.
 *
 * @param ends bytes that each gives
 */
export function packFiles(table: InodeTable, order: readonly number[], ends: ReadonlyMap<number, number>): PackedFiles {
  const pieces: Piece[] = [];
  const places = new Map<number, number>();
  let at = 0;
  for (const file of order) {
    const { node } = table.inodes[file]!; // the order has indexes of the table
    const size = ends.get(file);
    if (size === undefined || node.type !== "file") continue;
    places.set(file, at);
    pieces.push({ at, source: sliceSource(node.content, node.content.size - size, size) });
    at += size;
  }
  const { epoch } = table;
  const mtime = epoch.seconds * 1_000_000_000n + BigInt(epoch.nanoseconds);
  const inode = {
    node: regularFile(attributes(0, { mtime }), piecewiseSource(at, pieces)),
    path: "the packed inode" as ByteString,
    parent: 0,
    links: 1,
    isExtended: false,
    xattrs: undefined,
    headSize: RawInodeCompact.size,
  };
  return { inode, places };
}
