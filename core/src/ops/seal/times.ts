/** The clamp: no time in a result is later than it. */
import { type Directory, walkTree } from "../../tree/index.ts";

/** Changes `root` in place. Times are nanoseconds since 1970. */
export function clampTimes(root: Directory, clamp: bigint): void {
  for (const { node } of walkTree(root)) if (node.mtime > clamp) node.mtime = clamp;
}

/** The newest time in the tree, for input that says no creation time of its own. */
export function newestTime(root: Directory): bigint {
  let newest = 0n;
  for (const { node } of walkTree(root)) if (node.mtime > newest) newest = node.mtime;
  return newest;
}
