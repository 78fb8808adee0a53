/** Directory data on the reading side. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { Steps } from "../../source/index.ts";
import type { NodeType } from "../../tree/index.ts";
import { contentOf } from "./content.ts";
import { FILE_TYPES, MAX_NAME_SIZE, RawDirent } from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import { metadataSteps } from "./read-inode.ts";
import { parseNid, showNid } from "./superblock.ts";
import { metadataLimit, type Volume } from "./volume.ts";

export interface DirectoryEntry {
  readonly name: ByteString;
  readonly nid: number;
  /** What the directory says; undefined for a type it does not know. The inode decides. */
  readonly type: NodeType | undefined;
}

/**
 * Entries of one directory block, `.` and `..` among them.
 * Throws FormatError `bad-directory` for offsets out of order or range and for names that no directory may hold.
 *
 * @param bytes one block, or what `i_size` leaves of the last one
 * @param where names the directory in errors
 */
export function parseDirectoryBlock(bytes: Uint8Array, where: string): DirectoryEntry[] {
  const bad = (what: string): FormatError => new FormatError("bad-directory", `${where}: ${what}`);
  const first = RawDirent.view(bytes).nameOffset;
  if (first < RawDirent.size || first % RawDirent.size !== 0 || first >= bytes.length)
    throw bad(`first name at ${first} of a block with ${bytes.length} bytes`);
  const entries: DirectoryEntry[] = [];
  const count = first / RawDirent.size;
  let start = first;
  for (let i = 0; i < count; i++) {
    const raw = RawDirent.view(bytes, i * RawDirent.size);
    const isLast = i === count - 1;
    let end = isLast ? bytes.indexOf(0, start) : RawDirent.view(bytes, (i + 1) * RawDirent.size).nameOffset;
    if (end < 0) end = bytes.length; // the last name fills the block
    if (raw.nameOffset !== start || end <= start || end > bytes.length || end - start > MAX_NAME_SIZE)
      throw bad(`entry ${i} has its name at ${raw.nameOffset} to ${end}`);
    const name = byteString(bytes.subarray(start, end));
    if (name.includes("/") || name.includes("\0")) throw bad(`the name of entry ${i} holds a slash or NUL`);
    entries.push({ name, nid: parseNid(raw.nid, `${where}: entry ${i}`), type: FILE_TYPES[raw.fileType] });
    start = end;
  }
  return entries;
}

const nameOf = (inode: ErofsInode): string => `directory with inode ${showNid(inode.nid)}`;

function assertDirectory(inode: ErofsInode): void {
  if (inode.type !== "directory") throw new TypeError(`inode ${showNid(inode.nid)} is a ${inode.type}`);
}

/** All entries in the order of the image, `.` and `..` where they are there. */
export function* directorySteps(volume: Volume, inode: ErofsInode): Steps<never, DirectoryEntry[]> {
  assertDirectory(inode);
  const bytes = yield* metadataSteps(volume, inode, metadataLimit(volume));
  const { blockSize } = volume.superblock;
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < bytes.length; at += blockSize)
    for (const entry of parseDirectoryBlock(bytes.subarray(at, at + blockSize), nameOf(inode))) entries.push(entry);
  return entries;
}

/** Whether an entry is one of the directory's own, neither `.` nor `..`. */
export function isBelow({ name }: DirectoryEntry): boolean {
  return name !== "." && name !== "..";
}

/** Binary search by block, as the kernel does; reads only the blocks it looks at. */
export async function findEntry(
  volume: Volume,
  inode: ErofsInode,
  name: ByteString,
): Promise<DirectoryEntry | undefined> {
  assertDirectory(inode);
  const { blockSize } = volume.superblock;
  const content = contentOf(volume, volume.metadata, inode);
  let low = 0;
  let high = Math.ceil(content.size / blockSize) - 1;
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    const start = middle * blockSize;
    const block = await content.read(start, Math.min(blockSize, content.size - start));
    const entries = parseDirectoryBlock(block, nameOf(inode));
    if (name < entries[0]!.name)
      high = middle - 1; // a parsed block has an entry
    else if (name > entries.at(-1)!.name) low = middle + 1;
    else return entries.find((entry) => entry.name === name);
  }
  return undefined;
}
