/** Layers that are one zstd frame: literals, and recipes of sections. */
import { zstdFrameHeader } from "../../codecs/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Descriptor, type Repository, readBlob } from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { DecompressFrame } from "../environment.ts";

/** Bytes of the longest frame header, magic included, without a dictionary; what is stored so is longer. */
const MIN_FRAME = 14;

export interface FrameLayerEnvironment {
  readonly hashes: Hashes;
  readonly decompressFrame: DecompressFrame;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The content of a layer that is one zstd frame, verified. Errors: those of {@link readBlob}; FormatError `bad-literals`
 * where it may have more than `limit` bytes.
 */
export async function readFrameLayer(
  repository: Repository,
  descriptor: Descriptor,
  limit: number,
  { hashes, decompressFrame, signal }: FrameLayerEnvironment,
  what: string,
): Promise<Uint8Array> {
  const stored = await readBlob(repository, descriptor, hashes, what, { limit, signal });
  const size = stored.length < MIN_FRAME ? undefined : zstdFrameHeader(stored)?.contentSize;
  if (size === undefined || size > limit)
    throw new FormatError("bad-literals", `${what}: does not say that it has at most ${limit} bytes`, { path: what });
  return decompressFrame(stored, size, what);
}
