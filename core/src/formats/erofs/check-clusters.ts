/** Decompresses clusters of an image, in the order of their places. */
import { isAshlarError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import type { ClusterClaim } from "./accounts.ts";
import { decodeExtent } from "./clusters.ts";
import { plainExtent } from "./extent.ts";
import { failure, type Report, warning } from "./findings.ts";
import { MAX_CLUSTER_CONTENT } from "./format-compressed.ts";
import type { Volume } from "./volume.ts";

/** Bytes of clusters that are read together. */
const READ_SIZE = 4 * 1024 * 1024;

/** What clusters may yield together: so many times the bytes of the image, and at least this. Zeros compress well. */
const MAX_CONTENT_RATIO = 4096;
const MIN_CONTENT_LIMIT = 1024 ** 3;

/** Decompresses one cluster after the other; what is broken is reported. */
export function clusterChecker(
  volume: Volume,
  source: Source,
  nameOf: (nid: number | undefined) => string,
  report: Report,
): (claim: ClusterClaim) => Promise<void> {
  const limit = Math.max(MIN_CONTENT_LIMIT, source.size * MAX_CONTENT_RATIO);
  let content = 0; // bytes so far
  let output = new Uint8Array(0);
  let window = new Uint8Array(0) as Uint8Array;
  let windowStart = 0;
  return async ({ start, size, nid, cluster }) => {
    if (content > limit) return;
    content += cluster.size;
    if (content > limit) {
      const message = `data from byte ${start} on is not decompressed: there is more than ${limit} bytes of it`;
      report(warning("unchecked", message, { offset: start }));
      return;
    }
    const path = nameOf(nid);
    try {
      if (start < windowStart || start + size > windowStart + window.length) {
        window = await source.read(start, Math.max(size, Math.min(READ_SIZE, source.size - start)));
        windowStart = start;
      }
      if (output.length < cluster.size) output = new Uint8Array(Math.min(2 * cluster.size, MAX_CLUSTER_CONTENT));
      const extent = { ...plainExtent(0, cluster.size, start), storedSize: size, ...cluster };
      const stored = window.subarray(start - windowStart, start - windowStart + size);
      decodeExtent(volume, { nid: nid ?? 0 }, extent, stored, output.subarray(0, cluster.size));
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      report(failure(error.code, `${path}: ${error.message}`, { path, offset: error.details.offset ?? start }));
    }
  };
}
