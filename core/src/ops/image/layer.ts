/**
 * One layer, read and verified: what it changes, as a list. Reading needs nothing of the layers below, so that several
 * can be read at once; apply.ts puts the lists on top of each other in order.
 */
import { FormatError, IntegrityError, isAshlarError } from "../../errors/index.ts";
import { type BlobStore, verifiedLength } from "../../formats/oci/index.ts";
import { tarParser } from "../../formats/tar/index.ts";
import { assertDigest, digestAlgorithm, formatDigest, type Hashes } from "../../hash/index.ts";
import type { Scratch, ScratchSpace } from "../../source/index.ts";
import { classifyEntry, type LayerEntry } from "./entries.ts";
import type { ImageLayer } from "./open.ts";

/**
 * Decompression, lent by the host. Errors: FormatError `bad-gzip`, `bad-zstd`, `truncated`, `trailing-bytes`, naming
 * `what`. Errors of `input` pass as they are.
 */
export interface Decompressors {
  /** All members of a gzip stream. */
  gunzip(input: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array>;
  /** All frames of a zstd stream; skippable ones hold nothing. */
  unzstd(input: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array>;
}

/** What is left of the bounds of a whole image; counted down by every layer. */
export interface Budget {
  /** Uncompressed bytes of layers. */
  uncompressedBytes: number;
  /** Bytes of files as they are read, holes included. */
  contentBytes: number;
  entries: number;
}

/**
 * A layer may unpack to what the best gzip stream of its declared size could (deflate gives at most 1032 bytes for
 * one), and a little more, so that small zstd layers of zeros pass.
 */
export const MAX_RATIO = 1032;
export const RATIO_ALLOWANCE = 64 * 1024 * 1024; // bytes

export interface LayerDiff {
  /** Names the layer in errors. */
  readonly what: string;
  /** In the order of the layer. */
  readonly entries: readonly LayerEntry[];
  /** The uncompressed layer, headers and all; content is found by `contentOffset`. */
  readonly uncompressed: Scratch;
}

export interface ReadLayerOptions {
  readonly signal?: AbortSignal | undefined;
  /** Compressed bytes that have just been read. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * Reads a layer to its last byte and returns only if size, digest and diffID are the promised ones. Errors:
 * IntegrityError `size-mismatch`, `digest-mismatch`, `diff-id-mismatch`; FormatError of the tar reader, of
 * decompression and of `classifyEntry`; FormatError `too-large` past the budget or the ratio.
 */
export async function readLayer(
  store: BlobStore,
  layer: ImageLayer,
  number: number,
  environment: { readonly hashes: Hashes; readonly scratch: ScratchSpace; readonly decompressors: Decompressors },
  budget: Budget,
  options: ReadLayerOptions = {},
): Promise<LayerDiff> {
  const what = `layer ${number} (${layer.digest})`;
  const uncompressed = await environment.scratch.create();
  try {
    const entries = await readEntries(store, layer, what, environment, budget, uncompressed, options);
    return { what, entries, uncompressed };
  } catch (error) {
    await uncompressed.dispose();
    // Broken bytes are first of all not the promised ones; only a blob that is what it should be is a bad layer.
    if (error instanceof FormatError) await verifyBlob(store, layer, what, environment.hashes, error, options);
    throw error;
  }
}

async function readEntries(
  store: BlobStore,
  layer: ImageLayer,
  what: string,
  { hashes, decompressors }: { readonly hashes: Hashes; readonly decompressors: Decompressors },
  budget: Budget,
  uncompressed: Scratch,
  options: ReadLayerOptions,
): Promise<LayerEntry[]> {
  const algorithm = digestAlgorithm(layer.digest);
  const blobHash = hashes.create(algorithm);
  // A plain layer is its own diff: one hash serves both digests.
  const isPlain = layer.compression === "none" && digestAlgorithm(layer.diffId) === algorithm;
  const diffHash = isPlain ? undefined : hashes.create(digestAlgorithm(layer.diffId));
  const limit = layer.size * MAX_RATIO + RATIO_ALLOWANCE;
  const parser = tarParser({ what, allowMissingEnd: true }); // the diffID says that nothing is missing
  const entries: LayerEntry[] = [];
  let size = 0;

  const blob = await store.open(layer, options);
  try {
    async function* hashed(): AsyncGenerator<Uint8Array> {
      for await (const chunk of verifiedLength(blob, layer.size, what, options)) {
        blobHash.update(chunk);
        options.onProgress?.(chunk.length);
        yield chunk;
      }
    }
    for await (const chunk of decompress(hashed(), layer, what, decompressors)) {
      options.signal?.throwIfAborted();
      size += chunk.length;
      budget.uncompressedBytes -= chunk.length;
      if (size > limit) throw tooLarge(what, `unpacks to more than ${limit} bytes from ${layer.size}`, limit);
      if (budget.uncompressedBytes < 0)
        throw tooLarge(what, "the layers together pass the limit of uncompressed bytes");
      const appended = uncompressed.append(chunk);
      appended.catch(() => {}); // awaited below; what is thrown before that comes first
      diffHash?.update(chunk);
      parser.push(chunk);
      for (let event = parser.next(); event !== undefined; event = parser.next()) {
        if (event.kind !== "entry") continue;
        if (--budget.entries < 0) throw tooLarge(what, "the layers together pass the limit of entries");
        budget.contentBytes -= event.entry.size;
        if (budget.contentBytes < 0) throw tooLarge(what, "the files together pass the limit of bytes");
        const classified = classifyEntry(event.entry, what);
        if (classified !== undefined) entries.push(classified);
      }
      await appended;
    }
  } finally {
    await blob.close();
  }
  const digest = formatDigest(algorithm, blobHash.digest());
  assertDigest(digest, layer.digest, what);
  const diffId = diffHash === undefined ? digest : formatDigest(digestAlgorithm(layer.diffId), diffHash.digest());
  if (diffId !== layer.diffId)
    throw new IntegrityError("diff-id-mismatch", `${what}: diffID is ${diffId}, the config expects ${layer.diffId}`, {
      path: what,
      expected: layer.diffId,
      actual: diffId,
    });
  parser.end();
  return entries;
}

function decompress(
  input: AsyncIterable<Uint8Array>,
  { compression }: ImageLayer,
  what: string,
  { gunzip, unzstd }: Decompressors,
): AsyncIterable<Uint8Array> {
  if (compression === "none") return input;
  return compression === "gzip" ? gunzip(input, what) : unzstd(input, what);
}

function tooLarge(what: string, problem: string, expected?: number): FormatError {
  return new FormatError("too-large", `${what}: ${problem}`, { path: what, expected });
}

/** Reads the blob again for its digest alone; throws IntegrityError where it is not the promised one. */
async function verifyBlob(
  store: BlobStore,
  layer: ImageLayer,
  what: string,
  hashes: Hashes,
  cause: unknown,
  options: ReadLayerOptions,
): Promise<void> {
  const hash = hashes.create(digestAlgorithm(layer.digest));
  const blob = await store.open(layer, options);
  try {
    for await (const chunk of verifiedLength(blob, layer.size, what, options)) hash.update(chunk);
    assertDigest(formatDigest(digestAlgorithm(layer.digest), hash.digest()), layer.digest, what);
  } catch (error) {
    if (isAshlarError(error)) error.cause = cause;
    throw error;
  } finally {
    await blob.close();
  }
}
