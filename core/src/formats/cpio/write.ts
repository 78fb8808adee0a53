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
 * everything belongs to root and is as old as time itself. Inode numbers are counted. The content of a hard link goes
 * with its last name, as GNU cpio writes it. The root itself has no entry.
 *
 * Throws UnsupportedError `cpio-name` for a path of more than 4095 bytes or an entry named TRAILER!!!, and
 * `cpio-file-size` for a file past 4 GiB.
 */
export async function encodeCpio(tree: Directory): Promise<Uint8Array<ArrayBuffer>> {
  const names = countNames(tree);
  const met = new Map<Node, { inode: number; left: number }>();
  const parts: Uint8Array[] = [];
  let nextInode = 1;
  for (const { path, node } of walkTree(tree)) {
    if (path === "") continue;
    let entry = met.get(node);
    if (entry === undefined) {
      entry = { inode: nextInode++, left: names.get(node) ?? 1 };
      met.set(node, entry);
    }
    entry.left--;
    const links = node.type === "directory" ? directoryLinks(node) : (names.get(node) ?? 1);
    const content = entry.left === 0 ? await contentOf(path, node) : new Uint8Array(0);
    parts.push(...encodeEntry(path, node, entry.inode, links, content));
  }
  parts.push(...encodeRecord(TRAILER as ByteString, { inode: 0, mode: 0, links: 1 }, new Uint8Array(0)));
  return concatBytes(...parts);
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
