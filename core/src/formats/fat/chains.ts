/** Follows cluster chains of a volume that nobody vouches for. */
import { FormatError } from "../../errors/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { CLUSTER_END_MIN, CLUSTER_MASK, FIRST_CLUSTER, MAX_DIRECTORY_SIZE } from "./format.ts";
import type { FatHeader } from "./header.ts";

/** Bytes of the FAT read at once. */
const WINDOW = 64 * 1024;

/** Clusters one after the other. */
export interface Extent {
  readonly first: number;
  readonly count: number;
}

export interface Chains {
  /**
   * The clusters of a file of `size` bytes, or of a directory (`size` undefined: to the end of the chain). Every cluster
   * belongs to one chain only, so all calls together take at most as many steps as there are clusters.
   */
  follow(first: number, size: number | undefined, path: string, options?: ReadOptions): Promise<Extent[]>;
  readonly used: number;
}

export function openChains(source: Source, header: FatHeader): Chains {
  const { clusterCount, clusterSize, fatStart } = header;
  const end = clusterCount + FIRST_CLUSTER;
  const seen = new Uint32Array(Math.ceil(end / 32));
  let used = 0;
  let window: DataView = new DataView(new ArrayBuffer(0));
  let windowStart = 0; // byte of the FAT

  async function nextOf(cluster: number, options: ReadOptions | undefined): Promise<number> {
    const at = cluster * 4;
    if (at < windowStart || at >= windowStart + window.byteLength) {
      windowStart = Math.floor(at / WINDOW) * WINDOW;
      const bytes = await source.read(fatStart + windowStart, Math.min(WINDOW, end * 4 - windowStart), options);
      window = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return window.getUint32(at - windowStart, true) & CLUSTER_MASK;
  }

  return {
    get used() {
      return used;
    },
    async follow(first, size, path, options) {
      const fail = (why: string) => new FormatError("fat-chain", `${path}: ${why}`, { path });
      const limit = size === undefined ? MAX_DIRECTORY_SIZE / clusterSize : Math.ceil(size / clusterSize);
      const extents: { first: number; count: number }[] = [];
      let cluster = first;
      let count = 0;
      while (cluster < CLUSTER_END_MIN || count === 0) {
        if (cluster < FIRST_CLUSTER || cluster >= end)
          throw fail(`cluster ${cluster} is outside the volume, which has clusters 2 to ${end - 1}`);
        if (count >= limit) {
          if (size !== undefined) break; // more than the size says: nothing of it is read
          throw fail(`a directory of more than ${MAX_DIRECTORY_SIZE} bytes`);
        }
        const word = cluster >>> 5;
        const bit = 1 << (cluster & 31);
        if ((seen[word]! & bit) !== 0) throw fail(`cluster ${cluster} belongs to two chains, or its chain is a loop`); // word < seen.length
        seen[word]! |= bit;
        used++;
        count++;
        const last = extents.at(-1);
        if (last !== undefined && last.first + last.count === cluster) last.count++;
        else extents.push({ first: cluster, count: 1 });
        cluster = await nextOf(cluster, options);
      }
      if (size !== undefined && count < limit)
        throw fail(`the chain has ${count} clusters of ${clusterSize} bytes, too few for ${size} bytes`);
      return extents;
    },
  };
}
