/** Writes a tree as a newc archive: the same tree gives the same bytes. */
import { alignUp, type ByteString, bytesOf, concatBytes } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { readAll, type Source } from "../../source/index.ts";
import {
  countNames,
  type Directory,
  directoryLinks,
  type Node,
  showPath,
  TYPE_BITS,
  walkTree,
} from "../../tree/index.ts";
import { ALIGNMENT, HEADER_SIZE, MAGIC, MAX_NAME_SIZE, RawCpioHeader, TRAILER } from "./format.ts";

/** Bytes of one file's content: the size field has 32 bits. */
export const MAX_FILE_SIZE = 0xffffffff;

/**
 * The tree as one archive. Entries stand in canonical path order without their owners, times and extended attributes:
 * everything belongs to root and is as old as time itself. Inode numbers are counted. All names of a hard link stand where
 * its last one does, with the content behind the last, as GNU cpio writes it. The root itself has no entry.
 *
 * Throws UnsupportedError `cpio-name` for a path of more than 4095 bytes or an entry named TRAILER!!!, and
 * `cpio-file-size` for a file past 4 GiB.
 */
export async function encodeCpio(tree: Directory): Promise<Uint8Array<ArrayBuffer>> {
  for await (const archive of cpioArchives(tree, Number.POSITIVE_INFINITY)) return archive;
  throw new Error("a tree is at least one archive");
}

/**
 * The tree as archives behind each other, each whole, which is all the same to who unpacks them in turn. A directory is in
 * no later one than what it contains, and a hard link is within one. Inode numbers begin anew in each, so that the next
 * ones stay as they are where one changes. Errors: as above.
 * @param size most bytes of an archive, without its trailer; one of a single file may have more
 */
export async function* cpioArchives(tree: Directory, size: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const names = countNames(tree);
  const earlier = new Map<Node, ByteString[]>(); // names of hard links whose last one is still to come
  let parts: Uint8Array[] = [];
  let filled = 0;
  let nextInode = 1;
  for (const { path, node } of walkTree(tree)) {
    if (path === "") continue;
    const links = node.type === "directory" ? directoryLinks(node) : (names.get(node) ?? 1);
    const paths = [...(earlier.get(node) ?? []), path];
    if (node.type !== "directory" && paths.length < links) {
      earlier.set(node, paths);
      continue;
    }
    const content = await contentOf(path, node);
    const encode = (inode: number): Uint8Array[] =>
      paths.flatMap((name) => encodeEntry(name, node, inode, links, name === path ? content : new Uint8Array(0)));
    let records = encode(nextInode);
    const added = sizeOf(records);
    if (parts.length > 0 && filled + added > size) {
      yield concatBytes(...parts, ...encodeTrailer());
      [parts, filled, nextInode] = [[], 0, 1];
      records = encode(nextInode);
    }
    parts.push(...records);
    filled += added;
    nextInode++;
  }
  yield concatBytes(...parts, ...encodeTrailer());
}

function encodeTrailer(): Uint8Array[] {
  return encodeRecord(TRAILER as ByteString, { inode: 0, mode: 0, links: 1 }, new Uint8Array(0));
}

function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function encodeEntry(path: ByteString, node: Node, inode: number, links: number, content: Uint8Array): Uint8Array[] {
  if (path === TRAILER || path.length + 1 > MAX_NAME_SIZE)
    throw new UnsupportedError("cpio-name", `${showPath(path)}: a cpio archive cannot hold this name`, {
      path: showPath(path),
    });
  const device = node.type === "character" || node.type === "block" ? node : { major: 0, minor: 0 };
  return encodeRecord(path, { inode, mode: TYPE_BITS[node.type] | node.mode, links, device }, content);
}

async function contentOf(path: ByteString, node: Node): Promise<Uint8Array> {
  if (node.type === "symlink") return bytesOf(node.target);
  if (node.type !== "file") return new Uint8Array(0);
  return readContent(node.content, path);
}

async function readContent(content: Source, path: ByteString): Promise<Uint8Array> {
  if (content.size > MAX_FILE_SIZE)
    throw new UnsupportedError(
      "cpio-file-size",
      `${showPath(path)}: ${content.size} bytes, a cpio archive holds files of at most ${MAX_FILE_SIZE}`,
      { path: showPath(path), expected: MAX_FILE_SIZE, actual: content.size },
    );
  return readAll(content, MAX_FILE_SIZE, showPath(path));
}

interface RecordValues {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly device?: { readonly major: number; readonly minor: number };
}

/** Header, name and content, each padded. */
function encodeRecord(name: ByteString, values: RecordValues, content: Uint8Array): Uint8Array[] {
  const header = RawCpioHeader.encode({
    magic: MAGIC,
    inode: values.inode,
    mode: values.mode,
    uid: 0,
    gid: 0,
    links: values.links,
    mtime: 0,
    fileSize: content.length,
    deviceMajor: 0,
    deviceMinor: 0,
    nodeMajor: values.device?.major ?? 0,
    nodeMinor: values.device?.minor ?? 0,
    nameSize: name.length + 1,
    check: 0,
  });
  const head = new Uint8Array(alignUp(HEADER_SIZE + name.length + 1, ALIGNMENT));
  head.set(header);
  head.set(bytesOf(name), HEADER_SIZE);
  return [head, content, new Uint8Array(alignUp(content.length, ALIGNMENT) - content.length)];
}
