// A tree out of a plain tar whose contents stay there.
import assert from "node:assert/strict";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { readTarEntries } from "../../core/src/formats/tar/index.ts";
import { type Source, sliceSource } from "../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  symlink,
} from "../../core/src/tree/index.ts";

/** One plain archive: no whiteouts, every parent there; contents stay in the archive. */
export async function treeOfTar(source: Source): Promise<Directory> {
  const root = directory(attributes(0o755));
  for await (const entry of readTarEntries(source)) {
    const { type, mode, uid, gid, mtime, xattrs } = entry;
    const own = { mode, uid, gid, mtime, xattrs };
    const name = fromUtf8(entry.path.replace(/^\.?\/+/, "").replace(/\/$/, ""));
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
