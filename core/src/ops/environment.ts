/** What a host lends to the operations. Nothing else of the machine is seen by them. */
import type { BlockHasher, Hashes } from "../hash/index.ts";
import type { ScratchSpace } from "../source/index.ts";
import type { Reporter } from "./report.ts";

/** Compression whose output is part of an image: the same bytes on every host, so each is one pinned library. */
export interface Compressors {
  gzip(bytes: Uint8Array): Uint8Array;
  zstd(bytes: Uint8Array): Uint8Array;
}

export interface Environment {
  readonly hashes: Hashes;
  readonly blockHasher: BlockHasher;
  readonly compressors: Compressors;
  readonly scratch: ScratchSpace;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}
