// Everything that can be chosen when an EROFS image is written: each set of options is proved against fsck.erofs, the
// kernel and our reader, with random trees, and with any number of workers.
import type { ClusterEncoder } from "../../core/src/codecs/index.ts";
import type { Compression, CompressionHints, WriteErofsOptions } from "../../core/src/formats/erofs/index.ts";

type Options = Pick<WriteErofsOptions, "tails" | "blockSize" | "chunkSize"> & {
  readonly compression?: Omit<Compression, "encoder">;
};

/** Some files by another method, some as they are. */
const HINTS: CompressionHints = {
  methods: [{ algorithm: "lz4hc", level: 4, clusterSize: 65536 }],
  choose: (path) => [undefined, HINTS.methods[0], "none" as const][path.length % 3],
};

export const WRITER_SETS: readonly Options[] = [
  {},
  { tails: "inline" },
  { tails: "inline", blockSize: 512 },
  { blockSize: 1024 },
  { tails: "inline", blockSize: 2048 },
  { chunkSize: 4096 },
  { chunkSize: 65536, tails: "inline" },
  { chunkSize: 4096, blockSize: 1024 },
  { tails: "blocks", compression: { algorithm: "lz4", level: 1, clusterSize: 4096 } },
  { tails: "inline", compression: { algorithm: "lz4", level: 1, clusterSize: 65536 } },
  { tails: "blocks", compression: { algorithm: "lz4", level: 1, clusterSize: 1048576 } },
  { tails: "blocks", compression: { algorithm: "lz4hc", level: 9, clusterSize: 8192 } },
  { tails: "inline", compression: { algorithm: "lz4hc", level: 2, clusterSize: 1048576 } },
  { tails: "blocks", compression: { algorithm: "zstd", level: 3, clusterSize: 4096 } },
  { tails: "inline", compression: { algorithm: "zstd", level: 1, clusterSize: 65536 } },
  { tails: "blocks", compression: { algorithm: "zstd", level: 9, clusterSize: 1048576 } },
  { tails: "blocks", compression: { algorithm: "zstd", level: 3, packing: "bytes", clusterSize: 65536 } },
  { tails: "inline", compression: { algorithm: "zstd", level: 1, packing: "bytes", clusterSize: 4096 } },
  { tails: "blocks", compression: { algorithm: "zstd", level: 1, clusterSize: 16384, hints: HINTS } },
  { tails: "ztailpacking", compression: { algorithm: "lz4", level: 1, clusterSize: 4096 } },
  { tails: "ztailpacking", compression: { algorithm: "zstd", level: 1, clusterSize: 65536 } },
  { tails: "ztailpacking", blockSize: 1024, compression: { algorithm: "lz4hc", level: 4, clusterSize: 4096 } },
  { tails: "fragments", compression: { algorithm: "lz4hc", level: 2, clusterSize: 4096 } },
  { tails: "fragments", compression: { algorithm: "zstd", level: 1, clusterSize: 65536, hints: HINTS } },
  { tails: "fragments", compression: { algorithm: "zstd", level: 1, packing: "bytes", clusterSize: 65536 } },
];

export function writerOptions({ compression, ...options }: Options, encoder: ClusterEncoder): WriteErofsOptions {
  return { ...options, ...(compression && { compression: { ...compression, encoder } }) };
}
