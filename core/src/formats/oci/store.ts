/** Where blobs come from: the port that a layout directory, an archive and a registry implement. */
import { FormatError, IntegrityError } from "../../errors/index.ts";
import { assertDigest, type Digest, digestAlgorithm, digestOf, type Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { MAX_DOCUMENT_SIZE } from "./format.ts";
import type { Descriptor } from "./read.ts";

/** The bytes of one blob, front to back; nothing of them is verified yet. */
export interface BlobStream {
  /** Bytes, where they are known before reading. */
  readonly size: number | undefined;
  /** Each chunk is valid until the next one is asked for. */
  chunks(options?: ReadOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface BlobStore {
  /** For people: where the blobs are, such as `oci:/srv/image`. */
  readonly name: string;
  /** Throws SourceError `no-blob` where it is absent. */
  open(descriptor: Descriptor, options?: ReadOptions): Promise<BlobStream>;
}

/** What a reference selects from a store: a tag, a digest, or, where neither is given, the only thing there. */
export interface Selector {
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/** A store that knows names. */
export interface ImageStore extends BlobStore {
  /** The index or manifest that the selector means. Throws SourceError `no-such-image`, `ambiguous-image`. */
  resolve(selector: Selector, options?: ReadOptions): Promise<Descriptor>;
  close(): Promise<void>;
}

export interface ReadBlobOptions extends ReadOptions {
  /** Bytes; where it is not given, what a document may have. */
  readonly limit?: number | undefined;
}

/**
 * A whole blob, its size and digest verified. Throws IntegrityError `size-mismatch`, `digest-mismatch`, and
 * FormatError `too-large` past the limit. `what` names it in errors.
 */
export async function readBlob(
  store: BlobStore,
  descriptor: Descriptor,
  hashes: Hashes,
  what: string,
  options: ReadBlobOptions = {},
): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  const { limit = MAX_DOCUMENT_SIZE } = options;
  const name = what.includes(digest) ? what : `${what} ${digest}`;
  if (size > limit)
    throw new FormatError("too-large", `${name}: has ${size} bytes, more than ${limit}`, {
      expected: limit,
      actual: size,
    });
  const blob = await store.open(descriptor, options);
  try {
    const bytes = new Uint8Array(size);
    let filled = 0;
    for await (const chunk of verifiedLength(blob, size, name, options)) {
      bytes.set(chunk, filled);
      filled += chunk.length;
    }
    assertDigest(digestOf(hashes, bytes, digestAlgorithm(digest)), digest, what);
    return bytes;
  } finally {
    await blob.close();
  }
}

/** The chunks of a blob; IntegrityError `size-mismatch` as soon as they cannot be `size` bytes. */
export async function* verifiedLength(
  blob: BlobStream,
  size: number,
  what: string,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const fail = (actual: number, qualifier = ""): never => {
    throw new IntegrityError("size-mismatch", `${what}: has ${qualifier}${actual} bytes, expected ${size}`, {
      expected: size,
      actual,
    });
  };
  if (blob.size !== undefined && blob.size !== size) fail(blob.size);
  let total = 0;
  for await (const chunk of blob.chunks(options)) {
    total += chunk.length;
    if (total > size) fail(total, "at least ");
    yield chunk;
  }
  if (total !== size) fail(total);
}
