/**
 * A place that images, releases and signatures are kept in: a repository of a registry, or an OCI layout on disk.
 * What is pushed, pulled, signed and copied goes through this port alone, so that it works in any of them.
 */
import type { Digest } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import type { ClosableSource } from "./layout.ts";
import type { Descriptor } from "./read.ts";
import type { BlobStream, ImageStore } from "./store.ts";

export interface PutOptions extends ReadOptions {
  /** @param amount bytes sent since the last call */
  readonly onProgress?: ((amount: number) => void) | undefined;
  /** Repositories of the same registry that may have the blob, to be mounted from: their names, such as `library/os`. */
  readonly mountFrom?: readonly string[] | undefined;
}

/** How a blob got there: it was there before, the registry took it from another repository, or its bytes were sent. */
export type PutResult = "present" | "mounted" | "sent";

export interface ReferrersOptions extends ReadOptions {
  /** Only those with this artifactType. */
  readonly artifactType?: string | undefined;
}

/**
 * `open` serves blobs, manifests and indexes alike, by the media type of the descriptor; nothing that it or
 * `openBlob` gives is verified yet.
 */
export interface Repository extends ImageStore {
  /** Random access to a blob: only the ranges that are read travel. Throws SourceError `no-blob`. */
  openBlob(descriptor: Descriptor, options?: ReadOptions): Promise<ClosableSource>;
  /**
   * A part of a blob, front to back as it arrives, for stores where that is faster than many reads or loses less when it
   * breaks off. Nothing of it is verified.
   */
  openPart?(descriptor: Descriptor, start: number, length: number, options?: ReadOptions): Promise<BlobStream>;
  /** Whether the blob or manifest is there. */
  has(descriptor: Descriptor, options?: ReadOptions): Promise<boolean>;
  /**
   * Stores a blob unless it is there; nothing is read from `content` then. Throws IntegrityError `digest-mismatch` where
   * the content is not what the descriptor says; such a blob is not stored.
   */
  putBlob(descriptor: Descriptor, content: Source, options?: PutOptions): Promise<PutResult>;
  /**
   * Stores a manifest or index under its digest, and under `tag` where one is given. What it names must be there already.
   * A manifest with a `subject` is among the referrers of that afterwards.
   */
  putManifest(descriptor: Descriptor, bytes: Uint8Array, tag?: string, options?: ReadOptions): Promise<void>;
  /** Manifests whose `subject` is `digest`; empty where there are none. Descriptors carry artifactType and annotations. */
  referrers(digest: Digest, options?: ReferrersOptions): Promise<readonly Descriptor[]>;
  /** All tags, in no particular order. */
  tags(options?: ReadOptions): Promise<readonly string[]>;
}
