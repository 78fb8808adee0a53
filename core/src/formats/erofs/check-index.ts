/** Compares the distances in an index of logical clusters, by which the kernel finds heads, with where the heads are. */
import { finish } from "../../source/index.ts";
import { failure, type Report } from "./findings.ts";
import { CLUSTER_NONHEAD } from "./format-compressed.ts";
import type { ErofsInode } from "./inode.ts";
import { readMapHeader } from "./map.ts";
import { IndexReader } from "./map-index.ts";
import type { Volume } from "./volume.ts";

/** Reports the first wrong distance. Throws what reading the index throws. */
export async function checkIndex(volume: Volume, inode: ErofsInode, path: string, report: Report): Promise<void> {
  const map = await readMapHeader(volume, inode);
  if (map.kind !== "full" && map.kind !== "compact") return;
  const index = new IndexReader(volume, inode, map);
  let head = 0;
  for (let next = 0; next < index.count; ) {
    const { first, count, types, offsets } = await finish(index.windowOf(next));
    for (let i = 0; i < count; i++) {
      const entry = first + i;
      if (types[i] !== CLUSTER_NONHEAD) head = entry;
      else {
        const distance = offsets[i]!; // i is an entry of the window
        // One that is too small leads to an entry that knows more; the last one of a pack says something else.
        if (distance <= entry - head && (distance > 0 || map.kind === "compact")) continue;
        const message = `${path}: entry ${entry} of its index says that its cluster begins ${distance} entries before, it is ${entry - head}`;
        report(failure("bad-index", message, { path, offset: map.start }));
        return;
      }
    }
    next = first + count;
  }
}
