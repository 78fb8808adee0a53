/** What an image holds, in numbers. */
import type { ByteString } from "../../bytes/index.ts";
import {
  type ComposefsImage,
  ExternalContent,
  type FormatVersion,
  InlineContent,
  isWhiteout,
} from "../../formats/composefs/index.ts";
import { type Directory, type NodeType, walkTree } from "../../tree/index.ts";

export interface ComposefsInfo {
  readonly formatVersion: FormatVersion;
  /** Bytes of the image. */
  readonly size: number;
  readonly hasAcl: boolean;
  /** Inodes of the image, those that hide the object store included. */
  readonly inodes: number;
  /** Names of the tree, the root's included. */
  readonly names: number;
  readonly types: Readonly<Partial<Record<NodeType | "whiteout", number>>>;
  /** Content that stands in the image. */
  readonly inline: { readonly files: number; readonly bytes: number };
  /** Content that is elsewhere; `unverified` of these files have no digest. */
  readonly external: { readonly files: number; readonly bytes: number; readonly unverified: number };
  /** Different objects that the image needs. */
  readonly objects: number;
}

/** @param root the tree of `image` */
export function composefsInfo(image: ComposefsImage, root: Directory): ComposefsInfo {
  const types: Partial<Record<NodeType | "whiteout", number>> = {};
  const inline = { files: 0, bytes: 0 };
  const external = { files: 0, bytes: 0, unverified: 0 };
  const seen = new Set<unknown>();
  let names = 0;
  for (const { node } of walkTree(root)) {
    names++;
    if (seen.has(node)) continue;
    seen.add(node);
    const type = isWhiteout(node) ? "whiteout" : node.type;
    types[type] = (types[type] ?? 0) + 1;
    if (node.type !== "file") continue;
    const { content } = node;
    if (content instanceof ExternalContent) {
      external.files++;
      external.bytes += content.size;
      if (content.digest === undefined) external.unverified++;
    } else if (content instanceof InlineContent && content.size > 0) {
      inline.files++;
      inline.bytes += content.size;
    }
  }
  const { version: formatVersion, size, hasAcl, erofs } = image;
  const inodes = erofs.superblock.inodeCount;
  return { formatVersion, size, hasAcl, inodes, names, types, inline, external, objects: objectsOf(root).length };
}

/** Paths of the objects that hold the contents, each once, in byte order. */
export function objectsOf(root: Directory): ByteString[] {
  const objects = new Set<ByteString>();
  for (const { node } of walkTree(root))
    if (node.type === "file" && node.content instanceof ExternalContent && node.content.payload !== undefined)
      objects.add(node.content.payload);
  return [...objects].sort();
}
