/** Reads a root back and compares it with the tree that it was made from: what a writer's own fault cannot pass. */
import { type ByteString, equalBytes } from "../../bytes/index.ts";
import type { Decompressor } from "../../codecs/index.ts";
import { IntegrityError, isAshlarError } from "../../errors/index.ts";
import { deviceNumbers, type ErofsImage, type ErofsInode, openErofs, walkErofs } from "../../formats/erofs/index.ts";
import { chunksOf, type Source } from "../../source/index.ts";
import { type Directory, type Node, showPath, walkTree } from "../../tree/index.ts";

export interface VerifyRootOptions {
  readonly decompressor?: Decompressor | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After each piece: bytes of content just compared. */
  readonly onVerified?: ((bytes: number) => void) | undefined;
}

/**
 * Throws IntegrityError `root-differs` with the path for the first thing that `image` says otherwise than `tree`: a name,
 * what is at it, its attributes and xattrs, every byte of its content.
 */
export async function verifyRoot(tree: Directory, image: Source, options: VerifyRootOptions = {}): Promise<void> {
  const opened = await readingBack("", () => openErofs(image, { decompressor: options.decompressor }));
  const expected = walkTree(tree);
  const inodes = new Map<Node, number>();
  for await (const { path, inode, isKnown } of walkErofs(opened)) {
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
    await readingBack(path, () => compareNode(path, node, inode, opened, options));
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
async function readingBack<T>(path: ByteString | "", read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isAshlarError(error) || error.kind === "IntegrityError" || error.kind === "SourceError") throw error;
    throw new IntegrityError(
      "root-differs",
      `${showPath(path as ByteString)} in the root just written: ${error.message}`,
      {
        path: showPath(path as ByteString),
        cause: error,
      },
    );
  }
}

async function compareNode(
  path: ByteString,
  node: Node,
  inode: ErofsInode,
  image: ErofsImage,
  { onVerified }: VerifyRootOptions,
): Promise<void> {
  for (const field of ["type", "mode", "uid", "gid", "mtime"] as const)
    if (node[field] !== inode[field]) differs(path, `${field} is ${inode[field]}, not ${node[field]}`);
  const xattrs = await image.xattrs(inode);
  if (xattrs.size !== node.xattrs.size) differs(path, `has ${xattrs.size} xattrs, not ${node.xattrs.size}`);
  for (const [name, value] of node.xattrs) {
    const found = xattrs.get(name);
    if (found === undefined || !equalBytes(found, value)) differs(path, `xattr ${showPath(name)} is another one`);
  }
  if (node.type === "symlink" && (await image.readlink(inode)) !== node.target) differs(path, "leads somewhere else");
  if (node.type === "character" || node.type === "block") {
    const { major, minor } = deviceNumbers(inode);
    if (major !== node.major || minor !== node.minor) differs(path, `is device ${major}:${minor}`);
  }
  if (node.type !== "file") return;
  const content = image.content(inode);
  if (content.size !== node.content.size) differs(path, `has ${content.size} bytes, not ${node.content.size}`);
  let at = 0;
  for await (const chunk of chunksOf(node.content)) {
    if (!equalBytes(await content.read(at, chunk.length), chunk)) differs(path, `other content from ${at} on`);
    at += chunk.length;
    onVerified?.(chunk.length);
  }
}
