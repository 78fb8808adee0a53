/**
 * One layer, read and verified: what it changes, as a list. Reading needs nothing of the layers below, so that several
 * can be read at once; apply.ts puts the lists on top of each other in order.
 */
import { FormatError, IntegrityError, isAshlarError } from "../../errors/index.ts";
import { type BlobStore, type Compression, verifiedLength } from "../../formats/oci/index.ts";
import { tarParser } from "../../formats/tar/index.ts";
import { assertDigest, digestAlgorithm, formatDigest, type Hasher, type Hashes } from "../../hash/index.ts";
import type { Scratch, ScratchSpace, Source } from "../../source/index.ts";
import { classifyEntry, classifyPlainEntry, type LayerEntry } from "./entries.ts";
import type { ImageLayer } from "./open.ts";

/**
 * Decompression, lent by the host. Errors: FormatError `bad-gzip`, `bad-zstd`, `truncated`, `trailing-bytes`, naming
 * `what`. Errors of `input` pass as they are.
 */
export interface Decompressors {
  // A chunk that comes out is valid until the next one is asked for, and one that goes in need not be valid longer.
  /** All members of a gzip stream. */
  gunzip(input: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array>;
  /** All frames of a zstd stream; skippable ones hold nothing. */
  unzstd(input: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array>;
}

/** What one layer, or all of them, use of the bounds of a whole image. */
export interface Usage {
  /** Uncompressed bytes of layers. */
  uncompressedBytes: number;
  /** Bytes of files as they are read, holes included. */
  contentBytes: number;
  entries: number;
}

/** Who reads a layer asks after each chunk whether it may go on. */
export interface Allowance {
  /** What the layer has used so far; kept up to date by who reads it. */
  readonly used: Usage;
  /** Undefined: yes. Else waits, and rejects with FormatError `too-large` where the bounds are passed. */
  admit(): Promise<void> | undefined;
}

/**
 * A layer may unpack to what the best gzip stream of its declared size could (deflate gives at most 1032 bytes for
 * one), and to this much more: a file that was allocated for later is a few kilobytes of a zstd layer. All layers
 * together have a bound of their own.
 */
const MAX_RATIO = 1032;
const RATIO_ALLOWANCE = 1024 ** 3; // bytes

/**
 * Takes the contents of a layer's files one by one, in the order of the layer, and is what they are read from afterwards.
 * In place of a scratch file that takes the layer as it is.
 */
export interface ContentStore extends Source {
  /**
   * The next entry; its content, as the layer stores it, is what is appended up to the next one. Gives its place, by a
   * promise where that takes waiting; undefined for an entry without content.
   */
  place(entry: LayerEntry): Promise<number> | number | undefined;
  /** Copies `bytes`. */
  append(bytes: Uint8Array): Promise<void> | undefined;
  dispose(): Promise<void>;
}

export interface LayerDiff {
  /** Names the layer in errors. */
  readonly what: string;
  /** In the order of the layer. */
  readonly entries: readonly LayerEntry[];
  /** Content is found here by `contentOffset`. */
  readonly contents: Source & { dispose(): Promise<void> };
}

export interface ReadLayerOptions {
  readonly signal?: AbortSignal | undefined;
  /** Compressed bytes that have just been read. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
  /** Takes the contents; is disposed of as a scratch file would be. Default: a scratch file that has the layer as it is. */
  readonly store?: ContentStore | undefined;
}

export interface ReadLayerEnvironment {
  readonly hashes: Hashes;
  readonly scratch: ScratchSpace;
  readonly decompressors: Decompressors;
}

/**
 * Reads a layer to its last byte and returns only if size, digest and diffID are the promised ones. Errors:
 * IntegrityError `size-mismatch`, `digest-mismatch`, `diff-id-mismatch`; FormatError of the tar reader, of
 * decompression and of `classifyEntry`; FormatError `too-large` past the allowance or the ratio.
 */
export async function readLayer(
  store: BlobStore,
  layer: ImageLayer,
  number: number,
  environment: ReadLayerEnvironment,
  allowance: Allowance,
  options: ReadLayerOptions = {},
): Promise<LayerDiff> {
  const what = `layer ${number} (${layer.digest})`;
  const contents = options.store ?? (await environment.scratch.create());
  try {
    const entries = await readEntries(store, layer, what, environment, allowance, contents, options);
    return { what, entries, contents };
  } catch (error) {
    await contents.dispose();
    // Broken bytes are first of all not the promised ones; only a blob that is what it should be is a bad layer.
    if (error instanceof FormatError && layer.verifiedBy === "digest")
      await verifyBlob(store, layer, what, environment.hashes, error, options);
    throw error;
  }
}

async function readEntries(
  store: BlobStore,
  layer: ImageLayer,
  what: string,
  { hashes, decompressors }: ReadLayerEnvironment,
  allowance: Allowance,
  contents: Scratch | ContentStore,
  options: ReadLayerOptions,
): Promise<LayerEntry[]> {
  const algorithm = digestAlgorithm(layer.digest);
  const diffAlgorithm = digestAlgorithm(layer.diffId);
  // A plain layer is its own diff: one hash serves both digests.
  const isPlain = layer.compression === "none" && diffAlgorithm === algorithm;
  const blobHash = layer.verifiedBy === "digest" && !isPlain ? hashes.create(algorithm) : undefined;
  const limit = layer.size * MAX_RATIO + RATIO_ALLOWANCE;

  const blob = await store.open(layer, options);
  let read: Awaited<ReturnType<typeof readTarStream>>;
  try {
    async function* hashed(): AsyncGenerator<Uint8Array> {
      for await (const chunk of verifiedLength(blob, layer.size, what, options)) {
        blobHash?.update(chunk);
        options.onProgress?.(chunk.length);
        yield chunk;
      }
    }
    const chunks = decompress(hashed(), layer.compression, what, decompressors);
    const diffHash = hashes.create(diffAlgorithm);
    read = await readTarStream(chunks, { what, limit, diffHash, contents, allowance, signal: options.signal });
  } finally {
    await blob.close();
  }
  const diffId = formatDigest(diffAlgorithm, read.digest);
  const digest = blobHash === undefined ? diffId : formatDigest(algorithm, blobHash.digest());
  if (layer.verifiedBy === "digest") assertDigest(digest, layer.digest, what);
  if (diffId !== layer.diffId)
    throw new IntegrityError("diff-id-mismatch", `${what}: diffID is ${diffId}, the config expects ${layer.diffId}`, {
      path: what,
      expected: layer.diffId,
      actual: diffId,
    });
  read.end();
  return read.entries;
}

export interface TarStreamOptions {
  readonly what: string;
  /** Most uncompressed bytes. */
  readonly limit: number;
  readonly diffHash: Hasher;
  /** Takes the archive as it is, or its contents one by one. */
  readonly contents: Scratch | ContentStore;
  readonly allowance: Allowance;
  /** A plain archive, with no whiteouts and an end of its own. Default: false. */
  readonly isArchive?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** An uncompressed archive to its last byte. What is returned is worth nothing before the digest was compared. */
export async function readTarStream(chunks: AsyncIterable<Uint8Array>, options: TarStreamOptions) {
  const { what, limit, diffHash, contents, allowance, isArchive = false, signal } = options;
  const { used } = allowance;
  const classify = isArchive ? classifyPlainEntry : classifyEntry;
  // A diffID says that nothing is missing; of a plain archive only its end does.
  const parser = tarParser({ what, allowMissingEnd: !isArchive, afterEnd: isArchive ? "zeros" : "ignored" });
  const store = "place" in contents ? contents : undefined;
  const entries: LayerEntry[] = [];
  let isWanted = false; // the content that the parser gives out
  let size = 0;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    size += chunk.length;
    if (size > limit) throw tooLarge(what, `unpacks to more than ${limit} bytes`, limit);
    used.uncompressedBytes += chunk.length;
    const appended = store === undefined ? contents.append(chunk) : undefined;
    appended?.catch(() => {}); // awaited below; what is thrown before that comes first
    diffHash.update(chunk);
    parser.push(chunk);
    for (let event = parser.next(); event !== undefined; event = parser.next()) {
      if (event.kind === "data") {
        const stored = isWanted ? store?.append(event.bytes) : undefined;
        if (stored !== undefined) await stored;
        continue;
      }
      used.entries++;
      used.contentBytes += event.entry.size;
      const classified = classify(event.entry, what);
      isWanted = classified !== undefined;
      if (classified === undefined) continue;
      const place = store?.place(classified);
      entries.push(
        place === undefined ? classified : placed(classified, typeof place === "number" ? place : await place),
      );
    }
    if (appended !== undefined) await appended;
    const waiting = allowance.admit();
    if (waiting !== undefined) await waiting;
  }
  return { entries, digest: diffHash.digest(), end: () => parser.end() };
}

function placed(found: LayerEntry, contentOffset: number): LayerEntry {
  return { ...found, entry: { ...found.entry, contentOffset } };
}

export function decompress(
  input: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
  { gunzip, unzstd }: Decompressors,
): AsyncIterable<Uint8Array> {
  if (compression === "none") return input;
  return compression === "gzip" ? gunzip(input, what) : unzstd(input, what);
}

export function tooLarge(what: string, problem: string, expected?: number): FormatError {
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
