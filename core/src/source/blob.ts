/** A Blob or File of the web platform as a source. */
import { SourceError } from "../errors/index.ts";
import { assertRange, type Source } from "./source.ts";

/** The part of Blob (W3C File API) that is used. */
export interface BlobLike {
  /** Bytes. */
  readonly size: number;
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/** Reads throw SourceError `read-failed` where the file behind a Blob is gone or was changed. */
export function blobSource(blob: BlobLike): Source {
  return {
    size: blob.size,
    async read(offset, length, options) {
      assertRange(offset, length, blob.size);
      options?.signal?.throwIfAborted();
      const bytes = await blob
        .slice(offset, offset + length)
        .arrayBuffer()
        .catch((cause: unknown) => {
          throw new SourceError("read-failed", `${length} bytes at ${offset} of a Blob: cannot be read`, {
            offset,
            cause,
          });
        });
      if (bytes.byteLength !== length)
        throw new SourceError("truncated", `a Blob gave ${bytes.byteLength} bytes, not ${length}`, { offset });
      return new Uint8Array(bytes);
    },
  };
}
