/** A blob as a whole, its size and digest verified, that may have more bytes than a document. */
import { FormatError } from "../../errors/index.ts";
import { type BlobStore, type Descriptor, verifiedLength } from "../../formats/oci/index.ts";
import { assertDigest, digestAlgorithm, digestOf, formatDigest, type Hashes } from "../../hash/index.ts";
import type { ReadOptions, Scratch } from "../../source/index.ts";

/** Throws FormatError `too-large` past `limit` bytes; IntegrityError `size-mismatch`, `digest-mismatch`. */
export async function readWholeBlob(
  store: BlobStore,
  descriptor: Descriptor,
  limit: number,
  hashes: Hashes,
  what: string,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  if (size > limit)
    throw new FormatError("too-large", `${what}: has ${size} bytes, more than ${limit}`, {
      expected: limit,
      actual: size,
    });
  const blob = await store.open(descriptor, options);
  try {
    const bytes = new Uint8Array(size);
    let filled = 0;
    for await (const chunk of verifiedLength(blob, size, what, options)) {
      bytes.set(chunk, filled);
      filled += chunk.length;
    }
    assertDigest(digestOf(hashes, bytes, digestAlgorithm(digest)), digest, what);
    return bytes;
  } finally {
    await blob.close();
  }
}

/** Copies a blob to `scratch`; errors as {@link readWholeBlob}. */
export async function copyBlob(
  store: BlobStore,
  descriptor: Descriptor,
  scratch: Scratch,
  hashes: Hashes,
  options: ReadOptions & { readonly onProgress?: ((amount: number) => void) | undefined } = {},
): Promise<void> {
  const { digest, size } = descriptor;
  const what = `${store.name}: blob ${digest}`;
  const algorithm = digestAlgorithm(digest);
  const hasher = hashes.create(algorithm);
  const blob = await store.open(descriptor, options);
  try {
    for await (const chunk of verifiedLength(blob, size, what, options)) {
      hasher.update(chunk);
      await scratch.append(chunk);
      options.onProgress?.(chunk.length);
    }
    assertDigest(formatDigest(algorithm, hasher.digest()), digest, what);
  } finally {
    await blob.close();
  }
}
