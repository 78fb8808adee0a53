import { type ByteString, fromUtf8, showBytes } from "@ashlar/core/bytes";
import { SourceError } from "@ashlar/core/errors";
import { readTree } from "@ashlar/core/formats/erofs/reader";
import {
  countNames,
  type Directory,
  directoryLinks,
  type Node,
  resolvePath,
  sortedEntries,
  walkTree,
} from "@ashlar/core/tree";
import type { ListFlags } from "../commands/files.ts";
import { jsonEntry, type Listed, longLine } from "../output/listing.ts";
import { withRoot } from "./images.ts";
import { inSession } from "./session.ts";

/** Finds what a person names; a last component that is a link is followed, as `cat` and `ls` do. */
export function findPath(
  root: Directory,
  path: string,
  image: string,
): { readonly path: ByteString; readonly node: Node } {
  const found = resolvePath(root, fromUtf8(path));
  if (found === undefined) throw new SourceError("not-found", `${image}: ${path}: no such file or directory`, { path });
  return found;
}

function* select(start: { readonly path: ByteString; readonly node: Node }, recursive: boolean) {
  const { node, path } = start;
  if (node.type !== "directory") yield { path, node };
  else if (!recursive) for (const [name, entry] of sortedEntries(node)) yield { path: name, node: entry };
  else for (const visit of walkTree(node)) if (visit.path !== "") yield { path: visit.path, node: visit.node };
}

export function runLs(flags: ListFlags, image: string, path = "/"): Promise<void> {
  return inSession(flags, (session) =>
    withRoot(image, flags, session, async (opened) => {
      const tree = await readTree(opened.image);
      const names = countNames(tree);
      const list = [...select(findPath(tree, path, image), flags.recursive)].map(
        ({ path, node }): Listed => ({
          path,
          node,
          links: node.type === "directory" ? directoryLinks(node) : (names.get(node) ?? 1),
        }),
      );
      if (flags.json) session.printJson({ schema: "ashlar.ls/v1", image, path, entries: list.map(jsonEntry) });
      else for (const entry of list) session.print(flags.long ? longLine(entry) : showBytes(entry.path));
    }),
  );
}
