/** Clusters: what is stored becomes content, and clusters that were asked for in part are remembered for the next part. */
import type { DecompressOptions } from "../../codecs/index.ts";
import { type Extent, isCompression, rotation } from "./extent.ts";
import type { ErofsInode } from "./inode.ts";
import { showNid } from "./superblock.ts";
import type { Volume } from "./volume.ts";

/** Fills `output`, which is as long as the extent. Throws what the decompressor throws. @param stored all of it */
export function decodeExtent(
  { superblock, decompressor }: Volume,
  inode: Pick<ErofsInode, "nid">,
  extent: Extent,
  stored: Uint8Array,
  output: Uint8Array,
): void {
  const { encoding, isPartial, start } = extent;
  if (isCompression(encoding)) {
    const options: DecompressOptions = {
      // Only LZ4 is older than padding in front, and its blocks have no end of their own.
      placement: superblock.isZeroPadded || encoding !== "lz4" ? "zeros-before" : "rest-after",
      isPartial,
      // The kernel's LZMA decoder has no more memory than the image says. Of zstd that would rule out the host's own decoder.
      windowSize: encoding === "microlzma" ? superblock.windowSizes.microlzma : undefined,
      what: `cluster of inode ${showNid(inode.nid)}`,
      offset: start,
    };
    decompressor.decompress(encoding, stored, output, options);
  } else if (encoding === "interlaced") {
    const { head, skip } = rotation(extent, superblock.blockSize);
    const from = extent.storedSize - superblock.blockSize + skip;
    output.set(stored.subarray(from, from + head));
    output.set(stored.subarray(0, output.length - head), head);
  } else output.set(stored.subarray(0, output.length));
}

/** Contents of whole clusters, least recently used first. */
export interface ClusterCache {
  get(key: string): Uint8Array | undefined;
  put(key: string, content: Uint8Array): void;
}

export function clusterCache(maxBytes: number): ClusterCache {
  const contents = new Map<string, Uint8Array>();
  let bytes = 0;
  return {
    get(key) {
      const content = contents.get(key);
      if (content !== undefined) {
        contents.delete(key);
        contents.set(key, content);
      }
      return content;
    },
    put(key, content) {
      bytes += content.length - (contents.get(key)?.length ?? 0);
      contents.delete(key);
      contents.set(key, content);
      for (const [oldest, { length }] of contents) {
        if (bytes <= maxBytes || oldest === key) return;
        contents.delete(oldest);
        bytes -= length;
      }
    },
  };
}

/** Two extents with the same key have the same content: it depends on nothing but what is stored and how long it is. */
export function clusterKey({ space, device, start, storedSize, size, isPartial }: Extent): string {
  return `${space} ${device} ${start} ${storedSize} ${size} ${isPartial}`;
}
