/** Where inodes stand among the slots: one behind the other, or also in what is left at the ends of blocks. Pure. */
import { alignUp } from "../../bytes/index.ts";
import { INODE_SLOT_SIZE } from "./format.ts";

/** What is placed as one: an inode, its xattrs and what stands behind them. */
export interface Unit {
  /** Bytes. */
  readonly size: number;
  /** Where in it the part starts that crosses no block boundary, bytes; undefined where it may be cut anywhere. */
  readonly wholeFrom: number | undefined;
}

export interface Placer {
  /** Bytes from the start of the metadata to the place of the unit. */
  place(unit: Unit): number;
  /** What {@link place} would skip to bring `unit` to one block, bytes. */
  skips(unit: Unit): number;
  /** Bytes up to the end of the last unit. */
  readonly end: number;
}

/** One behind the other, so that what a change moves comes to rest where a block has some room left at its end. */
export function orderedPlacer(start: number, blockSize: number): Placer {
  let end = start;
  return {
    place(unit) {
      const at = nextPlace(end, unit, blockSize);
      end = at + unit.size;
      return at;
    },
    skips: (unit) => nextPlace(end, unit, blockSize) - end,
    get end() {
      return end;
    },
  };
}

/**
 * The rooms left at the ends of blocks are filled with what comes later: a unit goes into the smallest room that takes it
 * whole, of equal ones into the last. With tails behind the inodes that saves a quarter of the metadata.
 */
export function fillingPlacer(start: number, blockSize: number): Placer {
  const rooms: number[][] = Array.from({ length: blockSize / INODE_SLOT_SIZE }, () => []); // starts, by slots
  let end = start;
  const leave = (from: number, to: number): void => {
    const boundary = Math.floor(from / blockSize) * blockSize + blockSize;
    if (to > boundary) leave(boundary, to);
    const slots = (Math.min(to, boundary) - from) / INODE_SLOT_SIZE;
    if (slots > 0) rooms[slots]?.push(from); // no unit begins with a whole block before it
  };
  return {
    place(unit) {
      const slots = Math.ceil(unit.size / INODE_SLOT_SIZE);
      for (let room = slots; room < rooms.length; room++) {
        const at = rooms[room]!.pop(); // below the length
        if (at === undefined) continue;
        leave(at + slots * INODE_SLOT_SIZE, at + room * INODE_SLOT_SIZE);
        return at;
      }
      const from = alignUp(end, INODE_SLOT_SIZE);
      const at = nextPlace(from, unit, blockSize);
      leave(from, at);
      end = at + unit.size;
      return at;
    },
    skips: () => 0,
    get end() {
      return end;
    },
  };
}

/** First slot at or after `cursor` from which on the unit crosses a block boundary only where it may. */
function nextPlace(cursor: number, { size, wholeFrom }: Unit, blockSize: number): number {
  const at = alignUp(cursor, INODE_SLOT_SIZE);
  if (wholeFrom === undefined) return at;
  if (Math.floor((at + wholeFrom) / blockSize) === Math.floor((at + size - 1) / blockSize)) return at;
  if (wholeFrom === 0) return alignUp(at, blockSize);
  // What comes before may stay in this block where the rest then starts right behind the boundary.
  const moved = alignUp(alignUp(at + wholeFrom, blockSize) - wholeFrom, INODE_SLOT_SIZE);
  return ((moved + wholeFrom) % blockSize) + size - wholeFrom <= blockSize ? moved : alignUp(at, blockSize);
}
