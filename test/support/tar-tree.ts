// A tree out of a plain tar whose contents stay there, and a tar of a tree.
import assert from "node:assert/strict";
import { type ByteString, bytesOf, fromUtf8 } from "../../core/src/bytes/index.ts";
import { encodeTar, readTarEntries, type TarInput } from "../../core/src/formats/tar/index.ts";
import { readAll, type Source, sliceSource } from "../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  symlink,
  walkTree,
} from "../../core/src/tree/index.ts";

/** One plain archive: no whiteouts, every parent there; contents stay in the archive. */
export async function treeOfTar(source: Source): Promise<Directory> {
  const root = directory(attributes(0o755));
  for await (const entry of readTarEntries(source)) {
    const { type, mode, uid, gid, mtime, xattrs } = entry;
    const own = { mode, uid, gid, mtime, xattrs };
    const name = entry.path.replace(/^\.?\/+/, "").replace(/\/$/, "") as ByteString;
    if (name === "" || name === ".") Object.assign(root, own);
    else if (type === "hardlink") {
      const target = getNode(root, entry.linkTarget);
      assert.ok(target, entry.linkTarget);
      putNode(root, name, target);
    } else if (type === "directory") putNode(root, name, directory(own));
    else if (type === "symlink") putNode(root, name, symlink(own, entry.linkTarget));
    else if (type === "file") {
      assert.equal(entry.segments, undefined, "a sparse member");
      putNode(root, name, regularFile(own, sliceSource(source, entry.contentOffset, entry.size)));
    } else if (type === "fifo") putNode(root, name, { type, ...own });
    else putNode(root, name, { type, ...own, major: entry.devMajor, minor: entry.devMinor });
  }
  return root;
}

/** Bytes; a longer path is left out of {@link tarOfTree}. */
const MAX_PATH = 4000;

/** Directories, links and files of a tree; a file with several names comes several times. */
export async function tarOfTree(root: Directory): Promise<Uint8Array> {
  const members: (TarInput & { content?: Uint8Array })[] = [];
  for (const { path, node } of walkTree(root)) {
    const { type, mode, uid, gid, mtime, xattrs } = node;
    if (type !== "file" && type !== "directory" && type !== "symlink") continue;
    if (bytesOf(path).length > MAX_PATH) continue;
    const content = type === "file" ? await readAll(node.content, 2 ** 30, path) : undefined;
    const linkTarget = type === "symlink" ? node.target : fromUtf8("");
    const own = { path: path === "" ? fromUtf8("./") : path, type, linkTarget, mode, uid, gid, mtime, xattrs };
    members.push({ ...own, ...(content && { content }) });
  }
  return encodeTar(members);
}
