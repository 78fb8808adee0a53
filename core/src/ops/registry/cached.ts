/** Blobs that were fetched once and are kept: a decorator of a repository. What comes out of the cache is verified. */
import {
  type BlobStream,
  type ClosableSource,
  type Descriptor,
  isDocumentType,
  type Repository,
  sourceBlob,
} from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import type { PendingFile } from "./layout-repository.ts";

/** Blobs by digest, lent by the host; several processes may use it at once. */
export interface BlobCache {
  /** A blob whose digest was just verified; undefined where it is not there, or not what it should be any more. */
  open(descriptor: Descriptor, options?: ReadOptions): Promise<ClosableSource | undefined>;
  /** Takes a new blob in; undefined where it does not fit. It may be lost at any time. */
  create(digest: Digest, size: number): Promise<PendingFile | undefined>;
}

/** Manifests and tags are always asked for anew; so are ranges of blobs that are not there as a whole. */
export function withBlobCache(repository: Repository, cache: BlobCache): Repository {
  return {
    ...repository,
    async open(descriptor, options) {
      if (isDocumentType(descriptor.mediaType)) return repository.open(descriptor, options);
      const there = await cache.open(descriptor, options);
      if (there !== undefined) return sourceBlob(there);
      return keeping(await repository.open(descriptor, options), descriptor, cache);
    },
    async openBlob(descriptor, options) {
      if (isDocumentType(descriptor.mediaType)) return repository.openBlob(descriptor, options);
      return (await cache.open(descriptor, options)) ?? repository.openBlob(descriptor, options);
    },
  };
}

/** The same stream; a copy of it goes to the cache. That the cache fails is no reason for the stream to fail. */
function keeping(blob: BlobStream, { digest, size }: Descriptor, cache: BlobCache): BlobStream {
  return {
    size: blob.size,
    async *chunks(options) {
      let pending = await cache.create(digest, size).catch(() => undefined);
      const discard = async (): Promise<void> => {
        await pending?.discard().catch(() => undefined);
        pending = undefined;
      };
      try {
        let total = 0;
        for await (const chunk of blob.chunks(options)) {
          total += chunk.length;
          await pending?.write(chunk).catch(discard);
          yield chunk;
        }
        if (total === size) await pending?.publish().catch(() => undefined);
      } finally {
        await discard();
      }
    },
    close: () => blob.close(),
  };
}
