import { type BlobStore, type Descriptor, verifiedLength } from "../../formats/oci/index.ts";
import { assertDigest, digestAlgorithm, formatDigest, type Hashes } from "../../hash/index.ts";
import type { ReadOptions, Scratch } from "../../source/index.ts";

/** Copies a blob to `scratch`. Throws IntegrityError `size-mismatch`, `digest-mismatch`. */
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
