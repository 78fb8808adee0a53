/** Changes to a tree that more than one part needs. */
import type { ByteString } from "../bytes/index.ts";
import { FormatError } from "../errors/index.ts";
import { attributes, type Directory, directory, type Node } from "./tree.ts";
import { showPath, splitPath } from "./walk.ts";

/**
 * Puts `node` at `path`, replacing what is there. Missing parents are made with mode 0755, owner 0:0 and `mtime`.
 * Throws FormatError `not-a-directory` where a parent is something else (links are not followed).
 */
export function putNode(root: Directory, path: string, node: Node, mtime = 0n): void {
  const names = splitPath(path);
  const last = names.pop();
  if (last === undefined) throw new RangeError("the root cannot be replaced");
  let parent = root;
  const walked: ByteString[] = [];
  for (const name of names) {
    walked.push(name);
    let next = parent.entries.get(name);
    if (next === undefined) {
      next = directory(attributes(0o755, { mtime }));
      parent.entries.set(name, next);
    }
    if (next.type !== "directory") {
      const shown = showPath(walked.join("/") as ByteString);
      throw new FormatError("not-a-directory", `${shown} is not a directory`, { path: shown });
    }
    parent = next;
  }
  parent.entries.set(last, node);
}

/** Removes the name; true where it was there. */
export function removeNode(root: Directory, path: string): boolean {
  const names = splitPath(path);
  const last = names.pop();
  if (last === undefined) throw new RangeError("the root cannot be removed");
  let parent: Node = root;
  for (const name of names) {
    const next: Node | undefined = parent.entries.get(name);
    if (next?.type !== "directory") return false;
    parent = next;
  }
  return parent.entries.delete(last);
}
