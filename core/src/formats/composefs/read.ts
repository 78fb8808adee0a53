/** Opens a composefs image: what overlayfs is told by xattrs becomes contents, whiteouts and the file's own xattrs again. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { DIGEST_SIZES, type HashAlgorithm } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { type Directory, type Leaf, NO_XATTRS, type Node, showPath, type Xattrs } from "../../tree/index.ts";
import { INCOMPAT, NULL_BLOCK, RawChunkAddress, RawSuperblock, SUPERBLOCK_OFFSET } from "../erofs/format.ts";
import { deviceNumbers, type ErofsInode } from "../erofs/inode.ts";
import { type ErofsImage, openErofs } from "../erofs/read.ts";
import { walkErofs } from "../erofs/walk.ts";
import { ALGORITHM_NUMBERS } from "../fsverity/index.ts";
import { ExternalContent, InlineContent } from "./content.ts";
import {
  BLOCK_SIZE,
  ESCAPE_PREFIX,
  ESCAPED_WHITEOUT,
  ESCAPED_WHITEOUTS,
  type FormatVersion,
  HEADER_MAGIC,
  HEADER_VERSION,
  MAX_CHUNKS,
  MAX_INLINE_SIZE,
  METACOPY,
  METACOPY_HEAD_SIZE,
  OVERLAY_PREFIX,
  RawComposefsHeader,
  REDIRECT,
  USER_WHITEOUT,
  USER_WHITEOUTS,
  XATTR_PREFIXES,
} from "./format.ts";
import { chunking, type Home } from "./survey.ts";

export interface ComposefsImage {
  readonly version: FormatVersion;
  /** Of the header: some inode has a POSIX ACL. */
  readonly hasAcl: boolean;
  readonly erofs: ErofsImage;
  /** Bytes. */
  readonly size: number;
}

const KNOWN_INCOMPAT = INCOMPAT.zeroPadding | INCOMPAT.chunks;

/** Whether the magic of a composefs header is at the start. */
export async function isComposefs(source: Source): Promise<boolean> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size) return false;
  return RawComposefsHeader.view(await source.read(0, RawComposefsHeader.size)).magic === HEADER_MAGIC;
}

/**
 * Throws FormatError `bad-magic`, `truncated` or `trailing-bytes`; UnsupportedError `composefs-version`; and what
 * `openErofs` throws.
 */
export async function openComposefs(source: Source): Promise<ComposefsImage> {
  if (source.size < SUPERBLOCK_OFFSET + RawSuperblock.size)
    throw new FormatError("truncated", `not a composefs image: ${source.size} bytes hold no superblock`);
  const header = RawComposefsHeader.view(await source.read(0, RawComposefsHeader.size));
  if (header.magic !== HEADER_MAGIC)
    throw new FormatError("bad-magic", `not a composefs image: magic is 0x${header.magic.toString(16)}`, { offset: 0 });
  const { composefsVersion } = header;
  if (header.version !== HEADER_VERSION || !isVersion(composefsVersion))
    throw new UnsupportedError(
      "composefs-version",
      `composefs header version ${header.version} with format version ${composefsVersion} is not implemented`,
    );
  const erofs = await openErofs(source, { xattrPrefixes: XATTR_PREFIXES });
  const { blockSize, blockCount, featureIncompat } = erofs.superblock;
  // What holds bytes of its own in ways that composefs does not know would hide them from every check of contents.
  if ((featureIncompat & ~KNOWN_INCOMPAT) !== 0)
    throw new UnsupportedError(
      "erofs-feature",
      `a composefs image with incompatible EROFS features 0x${featureIncompat.toString(16)}`,
    );
  if (blockSize !== BLOCK_SIZE)
    throw new FormatError("bad-block-size", `a composefs image has blocks of ${BLOCK_SIZE} bytes, not of ${blockSize}`);
  // The digest is over the file, so bytes behind the image are part of what is named.
  if (blockCount * blockSize !== source.size)
    throw new FormatError("trailing-bytes", `the image ends at ${blockCount * blockSize}, the file at ${source.size}`, {
      expected: blockCount * blockSize,
      actual: source.size,
    });
  return { version: composefsVersion, hasAcl: (header.flags & 1) !== 0, erofs, size: source.size };
}

function isVersion(value: number): value is FormatVersion {
  return value === 0 || value === 1 || value === 2;
}

export interface ComposefsTree {
  readonly root: Directory;
  /** `st_nlink` of leaves as the image has it, and the name under which each was met first. */
  readonly homes: ReadonlyMap<Leaf, Home>;
  /** Bytes of directories. */
  readonly directorySizes: ReadonlyMap<Directory, number>;
}

/**
 * The tree that the image was made from; contents are `InlineContent` or `ExternalContent`. Devices 0:0 are left out in
 * versions 0 and 1: there they only hide the object store. Throws what `walkErofs` and the readers throw, FormatError
 * `composefs-inline`, `composefs-chunks`, `composefs-metacopy` or `duplicate-name`.
 */
export async function readComposefsTree(image: ComposefsImage): Promise<ComposefsTree> {
  const nodes = new Map<number, Node>();
  const homes = new Map<Leaf, Home>();
  const directorySizes = new Map<Directory, number>();
  let root: Directory | undefined;
  for await (const { path, name, inode, parent } of walkErofs(image.erofs)) {
    if (image.version !== 2 && isStub(inode)) continue;
    const known = nodes.get(inode.nid);
    const node = known ?? (await readNode(image, inode, path));
    nodes.set(inode.nid, node);
    if (node.type === "directory") directorySizes.set(node, inode.size);
    if (parent === undefined) {
      if (node.type === "directory") root = node;
      continue;
    }
    const directory = nodes.get(parent);
    if (directory?.type !== "directory") throw new RangeError("an entry came before its directory");
    if (directory.entries.has(name))
      throw new FormatError("duplicate-name", `${showPath(path)} is there twice`, { path: showPath(path) });
    directory.entries.set(name, node);
    if (known === undefined && node.type !== "directory")
      homes.set(node, { parent: directory, name, links: inode.links });
  }
  if (root === undefined) throw new RangeError("the walk did not begin with the root");
  return { root, homes, directorySizes };
}

function isStub(inode: ErofsInode): boolean {
  return inode.type === "character" && inode.u === 0;
}

async function readNode({ erofs }: ComposefsImage, inode: ErofsInode, path: ByteString): Promise<Node> {
  const { type, mode, uid, gid, mtime } = inode;
  const stored = await erofs.xattrs(inode);
  const own = { mode, uid, gid, mtime, xattrs: ownXattrs(stored) };
  switch (type) {
    case "directory":
      return { type, ...own, entries: new Map() };
    case "file":
      if (stored.has(ESCAPED_WHITEOUT)) return { type: "character", ...own, major: 0, minor: 0 };
      return { type, ...own, content: await readContent(erofs, inode, stored, showPath(path)) };
    case "symlink":
      return { type, ...own, target: await erofs.readlink(inode) };
    case "character":
    case "block":
      return { type, ...own, ...deviceNumbers(inode) };
    default:
      return { type, ...own };
  }
}

const SKIPPED: ReadonlySet<string> = /* @__PURE__ */ new Set([
  ESCAPED_WHITEOUT,
  ESCAPED_WHITEOUTS,
  USER_WHITEOUT,
  USER_WHITEOUTS,
]);

/**
 * As `composefs-info` tells them: marks of whiteouts go, although a user may have set one; the marks of opaque
 * directories stay. Writing sets both again.
 */
function ownXattrs(stored: Xattrs): Xattrs {
  const own = new Map<ByteString, Uint8Array>();
  for (const [name, value] of stored) {
    if (SKIPPED.has(name)) continue;
    if (!name.startsWith(OVERLAY_PREFIX)) own.set(name, value);
    else if (name.startsWith(ESCAPE_PREFIX))
      own.set((OVERLAY_PREFIX + name.slice(ESCAPE_PREFIX.length)) as ByteString, value);
  }
  return own.size === 0 ? NO_XATTRS : own;
}

async function readContent(
  erofs: ErofsImage,
  inode: ErofsInode,
  stored: Xattrs,
  shown: string,
): Promise<InlineContent | ExternalContent> {
  const { size, layout } = inode;
  if (layout !== "chunk-based" || size === 0) {
    if (size > MAX_INLINE_SIZE)
      throw new FormatError("composefs-inline", `${shown}: ${size} bytes of content stand in the image`, {
        path: shown,
        expected: MAX_INLINE_SIZE,
        actual: size,
      });
    return new InlineContent((await erofs.content(inode).read(0, size)).slice());
  }
  await refuseChunks(erofs, inode, shown);
  const redirect = stored.get(REDIRECT);
  const path = redirect === undefined ? undefined : byteString(redirect);
  const payload = path !== undefined && path.length > 1 && path.startsWith("/") ? path.slice(1) : path;
  return new ExternalContent(size, digestOf(stored.get(METACOPY), shown), payload as ByteString | undefined);
}

/** The content is elsewhere, so a chunk that is here would be bytes that nobody looks at. */
async function refuseChunks({ source }: ErofsImage, inode: ErofsInode, shown: string): Promise<void> {
  const { u, size, position, inodeSize, xattrSize } = inode;
  const bits = 12 + (u & 0x1f);
  const count = Math.ceil(size / 2 ** bits);
  const isLast = bits === 12 + 31; // version 2 gives every file the largest chunks
  if ((u & 0xffe0) !== 0 || count > MAX_CHUNKS || (!isLast && bits !== chunking(size).bits))
    throw new FormatError("composefs-chunks", `${shown}: chunk format 0x${u.toString(16)} is not one of composefs`, {
      path: shown,
      offset: position,
    });
  if (count > 1) return; // past 8 TiB: nothing says whether the table stands here or in a block
  const start = position + inodeSize + xattrSize;
  if (start + RawChunkAddress.size > source.size)
    throw new FormatError("truncated", `${shown}: the image ends at ${source.size}`, { path: shown, offset: start });
  if (RawChunkAddress.view(await source.read(start, RawChunkAddress.size)).block !== NULL_BLOCK)
    throw new FormatError("composefs-chunks", `${shown}: its chunk is not empty`, { path: shown, offset: start });
}

/** struct ovl_metacopy; empty where the content is not checked. */
function digestOf(metacopy: Uint8Array | undefined, shown: string): ByteString | undefined {
  if (metacopy === undefined || metacopy.length === 0) return undefined;
  const [version, length, flags, number] = metacopy;
  for (const [algorithm, known] of Object.entries(ALGORITHM_NUMBERS) as [HashAlgorithm, number][])
    if (
      number === known &&
      version === 0 &&
      flags === 0 &&
      length === metacopy.length &&
      length === METACOPY_HEAD_SIZE + DIGEST_SIZES[algorithm]
    )
      return byteString(metacopy.subarray(METACOPY_HEAD_SIZE));
  throw new FormatError("composefs-metacopy", `${shown}: its digest has a form that overlayfs does not know`, {
    path: shown,
  });
}
