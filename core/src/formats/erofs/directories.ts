/** Directory data: entries sorted as bytes, packed into blocks of their own. */
import { type ByteString, bytesOf } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { type Directory, type NodeType, showPath } from "../../tree/index.ts";
import { FILE_TYPES, RawDirent } from "./format.ts";

export interface DirectoryLayout {
  /** All names, `.` and `..` among them, in byte order. */
  readonly names: readonly ByteString[];
  /** For each block the index of its first name. */
  readonly blockStarts: readonly number[];
  /** Bytes; `i_size`. Every block but the last is full. */
  readonly size: number;
}

const MAX_DIRECTORY_SIZE = 0xffffffff; // bytes; above, a compact inode could not say it. About 100 million entries

/** Throws UnsupportedError `directory-too-large` past 4 GiB. */
export function layOutDirectory(directory: Directory, blockSize: number, path: ByteString): DirectoryLayout {
  const names = [".", "..", ...directory.entries.keys()] as ByteString[];
  names.sort(); // by code unit, which for byte strings is by byte
  const blockStarts = [0];
  let used = 0;
  for (const [i, name] of names.entries()) {
    const size = RawDirent.size + name.length;
    if (used + size > blockSize) {
      blockStarts.push(i);
      used = 0;
    }
    used += size;
  }
  const size = (blockStarts.length - 1) * blockSize + used;
  if (size > MAX_DIRECTORY_SIZE)
    throw new UnsupportedError("directory-too-large", `${showPath(path)}: the directory takes ${size} bytes`, {
      path: showPath(path),
      actual: size,
    });
  return { names, blockStarts, size };
}

/**
 * Block `index` of a directory, without padding.
 * @param target nid and type behind a name
 */
export function encodeDirectoryBlock(
  layout: DirectoryLayout,
  index: number,
  target: (name: ByteString) => { readonly nid: number; readonly type: NodeType },
): Uint8Array {
  const names = layout.names.slice(layout.blockStarts[index], layout.blockStarts[index + 1]);
  let size = names.length * RawDirent.size;
  let nameOffset = size;
  for (const name of names) size += name.length;
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const name of names) {
    const { nid, type } = target(name);
    bytes.set(RawDirent.encode({ nid: BigInt(nid), nameOffset, fileType: FILE_TYPES.indexOf(type), reserved: 0 }), at);
    bytes.set(bytesOf(name), nameOffset);
    at += RawDirent.size;
    nameOffset += name.length;
  }
  return bytes;
}
