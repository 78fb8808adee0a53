/** An OCI image layout (image-layout.md) on any tree of files: a directory, or the inside of an archive. */
import * as v from "valibot";
import { concatBytes, decodeUtf8Strict, encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import type { Digest } from "../../hash/index.ts";
import { passingChunksOf, type ReadOptions, type Source } from "../../source/index.ts";
import { isIndexType, isManifestType, LAYOUT_VERSION, MAX_DOCUMENT_SIZE, MAX_INDEX_DEPTH, REF_NAME } from "./format.ts";
import { type Descriptor, type Index, parseIndex } from "./read.ts";
import { type BlobStore, type BlobStream, type ImageStore, type Selector, verifiedLength } from "./store.ts";

/** A source that holds something open. */
export interface ClosableSource extends Source {
  close(): Promise<void>;
}

/** Files by path, relative, with slashes. `open` throws SourceError `not-found` where there is none. */
export interface FileTree {
  open(path: string): Promise<ClosableSource>;
  close(): Promise<void>;
}

/** Bytes read at once from a blob: decompression waits where one ends. With 1 MiB a layer takes a tenth longer (measured). */
const BLOB_CHUNK_SIZE = 4 * 1024 * 1024;
/** Tags that an error lists. */
const MAX_LISTED = 20;

const LayoutFile = v.looseObject({ imageLayoutVersion: v.string() });

/**
 * Opens a layout; it owns `files` from here on. Errors: SourceError `not-a-layout`; FormatError `bad-json`,
 * `bad-layout`, `bad-index`, `too-large`; UnsupportedError `layout-version`.
 * @param name for people, such as `oci:/srv/image`
 */
export async function openLayout(files: FileTree, name: string, options?: ReadOptions): Promise<ImageStore> {
  let index: Index;
  try {
    index = parseIndex(await readLayoutIndex(files, name, options), `${name}: ${INDEX_FILE}`);
  } catch (error) {
    await files.close();
    throw error;
  }
  const store: ImageStore = {
    name,
    resolve: (selector, readOptions) => resolveInLayout(store, index, selector, readOptions),
    open: async ({ digest }) => sourceBlob(await openLayoutBlob(files, digest, name)),
    close: () => files.close(),
  };
  return store;
}

export const INDEX_FILE = "index.json";
export const LAYOUT_FILE = "oci-layout";

/** What `oci-layout` holds. */
export function encodeLayoutFile(): Uint8Array {
  return encodeUtf8(JSON.stringify({ imageLayoutVersion: LAYOUT_VERSION }));
}

export function blobPath(digest: Digest): string {
  return `blobs/${digest.replace(":", "/")}`;
}

/** Throws SourceError `no-blob`. @param name of the layout, for people */
export async function openLayoutBlob(files: FileTree, digest: Digest, name: string): Promise<ClosableSource> {
  try {
    return await files.open(blobPath(digest));
  } catch (cause) {
    if (isAshlarError(cause) && cause.code === "not-found")
      throw new SourceError("no-blob", `${name}: blob ${digest} is missing`, { cause });
    throw cause;
  }
}

/** The entry that a selector means, also one of an index within the index. */
export async function resolveInLayout(
  store: BlobStore,
  index: Index,
  selector: Selector,
  options?: ReadOptions,
): Promise<Descriptor> {
  const { digest } = selector;
  const nested = digest === undefined ? undefined : await findNested(store, index, digest, 0, options);
  return nested ?? selectManifest(index, selector, store.name);
}

/** A file as a blob; closing it closes the file. */
export function sourceBlob(source: ClosableSource): BlobStream {
  return {
    size: source.size,
    chunks: (options) => passingChunksOf(source, { ...options, chunkSize: BLOB_CHUNK_SIZE }),
    close: () => source.close(),
  };
}

/**
 * A digest may stand in an index within the index. The indexes on the way are not verified here: the digest that is
 * looked for is, and it is the caller's own.
 */
async function findNested(
  store: BlobStore,
  index: Index,
  digest: Digest,
  depth: number,
  options: ReadOptions | undefined,
): Promise<Descriptor | undefined> {
  const found = index.manifests.find((descriptor) => descriptor.digest === digest);
  if (found !== undefined || depth >= MAX_INDEX_DEPTH) return found;
  for (const descriptor of index.manifests) {
    if (!isIndexType(descriptor.mediaType)) continue;
    const what = `${store.name}: index ${descriptor.digest}`;
    const blob = await store.open(descriptor, options);
    try {
      const parts: Uint8Array[] = [];
      for await (const chunk of verifiedLength(blob, Math.min(descriptor.size, MAX_DOCUMENT_SIZE), what, options))
        parts.push(chunk.slice());
      const below = await findNested(store, parseIndex(concatBytes(...parts), what), digest, depth + 1, options);
      if (below !== undefined) return below;
    } finally {
      await blob.close();
    }
  }
  return undefined;
}

/** Checks `oci-layout`; the bytes of `index.json`. Errors as {@link openLayout}. */
export async function readLayoutIndex(files: FileTree, name: string, options?: ReadOptions): Promise<Uint8Array> {
  const what = `${name}: ${LAYOUT_FILE}`;
  const text = decodeUtf8Strict(await readFile(files, LAYOUT_FILE, name, options));
  let document: unknown;
  try {
    document = JSON.parse(text ?? "");
  } catch (cause) {
    throw new FormatError("bad-json", `${what} is not JSON`, { cause });
  }
  const layout = v.safeParse(LayoutFile, document);
  if (!layout.success) throw new FormatError("bad-layout", `${what} has no imageLayoutVersion`);
  const version = layout.output.imageLayoutVersion;
  if (version.split(".")[0] !== LAYOUT_VERSION.split(".")[0])
    throw new UnsupportedError(
      "layout-version",
      `${what}: version ${JSON.stringify(version.slice(0, 40))} is not supported`,
    );
  return readFile(files, INDEX_FILE, name, options);
}

async function readFile(files: FileTree, path: string, name: string, options?: ReadOptions): Promise<Uint8Array> {
  let source: ClosableSource;
  try {
    source = await files.open(path);
  } catch (cause) {
    if (isAshlarError(cause) && cause.code === "not-found")
      throw new SourceError("not-a-layout", `${name}: not an OCI image layout: ${path} is missing`, { path, cause });
    throw cause;
  }
  try {
    if (source.size > MAX_DOCUMENT_SIZE)
      throw new FormatError("too-large", `${name}: ${path} has ${source.size} bytes, more than ${MAX_DOCUMENT_SIZE}`);
    return await source.read(0, source.size, options);
  } finally {
    await source.close();
  }
}

/** The entry of `index.json` that a selector means. */
function selectManifest(index: Index, { tag, digest }: Selector, name: string): Descriptor {
  const images = index.manifests.filter(({ mediaType }) => isIndexType(mediaType) || isManifestType(mediaType));
  const tags = images.flatMap((image) => image.annotations[REF_NAME] ?? []);
  const known = tags.length === 0 ? "it has no tags" : `it has ${list(tags)}`;
  const named = images.filter((image) =>
    digest !== undefined ? image.digest === digest : tag === undefined || image.annotations[REF_NAME] === tag,
  );
  // Signatures and the like stand in the layout beside what they are about; nobody means them without naming them. And
  // what has no tag beside something that has one is there because the other needs it.
  const isOpen = tag === undefined && digest === undefined;
  const own = isOpen ? named.filter((image) => !isAboutAnother(image)) : named;
  const tagged = isOpen ? own.filter(({ annotations }) => annotations[REF_NAME] !== undefined) : [];
  const matching = [tagged, own].find(({ length }) => length > 0) ?? named;
  const [first] = matching;
  if (first === undefined) {
    const wanted = digest ?? (tag === undefined ? "image" : `tag ${JSON.stringify(tag)}`);
    throw new SourceError("no-such-image", `${name}: no ${wanted}; ${known}`, { path: name });
  }
  // The same thing under several tags is still one thing.
  if (matching.some((image) => image.digest !== first.digest)) {
    const what =
      tag === undefined ? `${matching.length} images` : `${matching.length} images with tag ${JSON.stringify(tag)}`;
    const digests = matching.map((image) => image.digest);
    throw new SourceError(
      "ambiguous-image",
      `${name}: ${what}; ${tag === undefined && tags.length > 0 ? known : list(digests)}`,
      {
        path: name,
      },
    );
  }
  return first;
}

/** A tag made of a digest: the list of what refers to it, or cosign's names for signatures and the like. */
const DIGEST_TAG = /^sha(?:256|512)-[0-9a-f]{64,128}(?:\.[a-z0-9]+)?$/;

function isAboutAnother({ annotations, artifactType }: Descriptor): boolean {
  const tag = annotations[REF_NAME];
  return tag === undefined ? artifactType !== undefined : DIGEST_TAG.test(tag);
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED).map(oneLine);
  return shown.join(", ") + (names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : "");
}
