// Everything that can be chosen when an EROFS image is written: each set of options is proved against fsck.erofs, the
// kernel and our reader, with random trees, and with any number of workers.
import type { ClusterEncoder } from "../../core/src/codecs/index.ts";
import type { Compression, WriteErofsOptions } from "../../core/src/formats/erofs/index.ts";

type Options = Pick<WriteErofsOptions, "tails" | "blockSize"> & {
  readonly compression?: Omit<Compression, "encoder">;
};

export const WRITER_SETS: readonly Options[] = [
  {},
  { tails: "inline" },
  { tails: "inline", blockSize: 512 },
  { blockSize: 1024 },
  { tails: "inline", blockSize: 2048 },
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
];

export function writerOptions({ compression, ...options }: Options, encoder: ClusterEncoder): WriteErofsOptions {
  return { ...options, ...(compression && { compression: { ...compression, encoder } }) };
}
