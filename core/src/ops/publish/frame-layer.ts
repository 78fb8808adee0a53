/** Layers that are one zstd frame: literals, and recipes of sections. */
import { FormatError } from "../../errors/index.ts";
import { type Descriptor, type Repository, readBlob } from "../../formats/oci/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { DecompressFrame } from "../environment.ts";

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
  const size = frameContentSize(stored);
  if (size === undefined || size > limit)
    throw new FormatError("bad-literals", `${what}: does not say that it has at most ${limit} bytes`, { path: what });
  return decompressFrame(stored, size, what);
}

/** Block_Type of RLE: one byte is stored, whatever it stands for. */
const RLE_BLOCK = 1;

/** Bytes of the zstd frame that `bytes` begin with (RFC 8878, 3.1.1); undefined where that is none, or not all of one. */
export function frameSize(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < MIN_FRAME || view.getUint32(0, true) !== MAGIC) return undefined;
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentSizeField = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!; // two bits
  const dictionaryField = [0, 1, 2, 4][descriptor & 3]!; // two bits
  let at = 5 + (isSingleSegment ? 0 : 1) + dictionaryField + contentSizeField;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return undefined;
    const block = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    isLast = (block & 1) === 1;
    at += 3 + (((block >> 1) & 3) === RLE_BLOCK ? 1 : block >> 3);
  }
  if ((descriptor & 4) !== 0) at += 4; // a checksum
  return at <= bytes.length ? at : undefined;
}

const MAGIC = 0xfd2fb528;
/** Bytes of the longest frame header, magic included, without a dictionary; literals are longer. */
const MIN_FRAME = 14;

/** Frame_Content_Size of the frame that `bytes` begin with (RFC 8878, 3.1.1); undefined where it does not say. */
export function frameContentSize(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < MIN_FRAME || view.getUint32(0, true) !== MAGIC) return undefined;
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const at = isSingleSegment ? 5 : 6; // else a window descriptor stands before it
  switch (descriptor >> 6) {
    case 0:
      return isSingleSegment ? view.getUint8(at) : undefined;
    case 1:
      return view.getUint16(at, true) + 256;
    case 2:
      return view.getUint32(at, true);
    default:
      return Number(view.getBigUint64(at, true)); // held against a limit
  }
}
