/** Finds a path in an image as the kernel would, reading nothing but the directories and links on the way. */
import type { ByteString } from "../../bytes/index.ts";
import { MAX_SYMLINKS, splitPath } from "../../tree/index.ts";
import type { ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";

/** Follows links, the last one too; `..` at the root stays there. Undefined where nothing is there or the links go round. */
export async function resolveInode(image: ErofsImage, path: string): Promise<ErofsInode | undefined> {
  const pending = splitPath(path).reverse(); // next component last
  let trail: { readonly name: ByteString; readonly inode: ErofsInode }[] = [];
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if ((trail.at(-1)?.inode ?? image.root).type !== "directory") return undefined;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const inode = await image.lookup([...trail.map((entry) => entry.name), name].join("/"));
    if (inode === undefined) return undefined;
    if (inode.type !== "symlink") {
      trail.push({ name, inode });
      continue;
    }
    if (++links > MAX_SYMLINKS) return undefined;
    const target = await image.readlink(inode);
    if (target.startsWith("/")) trail = [];
    pending.push(...splitPath(target).reverse());
  }
  return trail.at(-1)?.inode ?? image.root;
}
