/** Reads a root back and compares it with the tree that it was made from: what a writer's own fault cannot pass. */
import { type ByteString, crc32, equalBytes } from "../../bytes/index.ts";
import type { Decompressor } from "../../codecs/index.ts";
import { IntegrityError, isAshlarError } from "../../errors/index.ts";
import { deviceNumbers, type ErofsImage, type ErofsInode, openErofs, walkErofs } from "../../formats/erofs/index.ts";
import { type Source, windowOf } from "../../source/index.ts";
import { type Directory, type Node, showPath, walkTree } from "../../tree/index.ts";

export interface VerifyRootOptions {
  readonly decompressor?: Decompressor | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Of a content that stands in the root itself, so that to compare the root with it would prove nothing: where it was put and
   * what it was. Undefined for what is elsewhere too, and is read again.
   */
  readonly landed?: ((content: Source) => LandedContent | undefined) | undefined;
  /** Default: that of `bytes/`. */
  readonly crc32?: ((bytes: Uint8Array, previous: number) => number) | undefined;
  /** After each piece: bytes of content just compared. */
  readonly onVerified?: ((bytes: number) => void) | undefined;
}

export interface LandedContent {
  /** Bytes from the start of the root. */
  readonly start: number;
  /** CRC-32 of what came in; where it is not known, the place is all that is compared. */
  readonly checksum: number | undefined;
}

/** Bytes that are compared at once; clusters of up to 1 MiB are decompressed once then. */
const PIECE_SIZE = 1024 * 1024;

/** What the contents of all files pass through: fresh memory for each would cost more than reading. */
interface Pieces {
  readonly wanted: Uint8Array;
  readonly found: Uint8Array;
}

/**
 * Throws IntegrityError `root-differs` with the path for the first thing that `image` says otherwise than `tree`: a name,
 * what is at it, its attributes and xattrs, every byte of its content.
 */
export async function verifyRoot(tree: Directory, image: Source, options: VerifyRootOptions = {}): Promise<void> {
  const expected = walkTree(tree);
  const inodes = new Map<Node, number>();
  const pieces = { wanted: new Uint8Array(PIECE_SIZE), found: new Uint8Array(PIECE_SIZE) };
  let at = "" as ByteString;
  try {
    const opened = await openErofs(image, { decompressor: options.decompressor });
    for await (const { path, inode, isKnown } of walkErofs(opened)) {
      at = path;
      options.signal?.throwIfAborted();
      const { value } = expected.next();
      if (value === undefined || value.path !== path) differs(path, "is not a name of the tree");
      const { node } = value;
      const known = inodes.get(node);
      if (known !== undefined) {
        if (known !== inode.nid) differs(path, "is another file than its first name");
        continue;
      }
      if (isKnown) differs(path, "is a second name of another file");
      inodes.set(node, inode.nid);
      compareAttributes(path, node, inode);
      if (inode.xattrSize > 0 || node.xattrs.size > 0) await compareXattrs(path, node, inode, opened);
      if (node.type === "symlink" && (await opened.readlink(inode)) !== node.target)
        differs(path, "leads somewhere else");
      if (node.type === "file") await compareContent(path, node.content, opened.content(inode), pieces, options);
    }
  } catch (error) {
    throw whileReadingBack(at, error);
  }
  const rest = expected.next();
  if (!rest.done) differs(rest.value.path, "is missing");
}

function differs(path: ByteString, what: string): never {
  throw new IntegrityError("root-differs", `${showPath(path)} in the root just written: ${what}`, {
    path: showPath(path),
  });
}

/** What our reader cannot read is a root that must not be published, whatever it says is wrong. */
function whileReadingBack(path: ByteString, error: unknown): unknown {
  if (!isAshlarError(error) || error.kind === "IntegrityError" || error.kind === "SourceError") return error;
  return new IntegrityError("root-differs", `${showPath(path)} in the root just written: ${error.message}`, {
    path: showPath(path),
    cause: error,
  });
}

function compareAttributes(path: ByteString, node: Node, inode: ErofsInode): void {
  for (const field of ["type", "mode", "uid", "gid", "mtime"] as const)
    if (node[field] !== inode[field]) differs(path, `${field} is ${inode[field]}, not ${node[field]}`);
  if (node.type !== "character" && node.type !== "block") return;
  const { major, minor } = deviceNumbers(inode);
  if (major !== node.major || minor !== node.minor) differs(path, `is device ${major}:${minor}`);
}

async function compareXattrs(path: ByteString, node: Node, inode: ErofsInode, image: ErofsImage): Promise<void> {
  const xattrs = await image.xattrs(inode);
  if (xattrs.size !== node.xattrs.size) differs(path, `has ${xattrs.size} xattrs, not ${node.xattrs.size}`);
  for (const [name, value] of node.xattrs) {
    const found = xattrs.get(name);
    if (found === undefined || !equalBytes(found, value)) differs(path, `xattr ${showPath(name)} is another one`);
  }
}

async function compareContent(
  path: ByteString,
  wanted: Source,
  found: Source,
  pieces: Pieces,
  { landed, crc32: sum = crc32, signal, onVerified }: VerifyRootOptions,
): Promise<void> {
  if (found.size !== wanted.size) differs(path, `has ${found.size} bytes, not ${wanted.size}`);
  const there = landed?.(wanted);
  if (there !== undefined && windowOf(found)?.start !== there.start) differs(path, "other content than came in");
  if (there !== undefined && there.checksum === undefined) return onVerified?.(found.size);
  let actual = 0;
  for (let at = 0; at < found.size; at += PIECE_SIZE) {
    signal?.throwIfAborted();
    const size = Math.min(PIECE_SIZE, found.size - at);
    const piece = readPiece(found, at, pieces.found.subarray(0, size));
    if (there !== undefined) actual = sum(piece instanceof Uint8Array ? piece : await piece, actual);
    else if (!equalBytes(...(await Promise.all([piece, readPiece(wanted, at, pieces.wanted.subarray(0, size))]))))
      differs(path, `other content from ${at} on`);
    onVerified?.(size);
  }
  if (there !== undefined && there.checksum !== actual) differs(path, "other content than came in");
}

/** Into `target` where the source can do that; a promise only where it takes waiting. */
function readPiece(source: Source, at: number, target: Uint8Array): Uint8Array | Promise<Uint8Array> {
  if (source.readInto === undefined) return source.read(at, target.length);
  const done = source.readInto(at, target);
  return done === undefined ? target : done.then(() => target);
}
