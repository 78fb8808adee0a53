/** An OCI image layout (image-layout.md) on any tree of files: a directory, or the inside of an archive. */
import * as v from "valibot";
import { concatBytes, decodeUtf8Strict, oneLine } from "../../bytes/index.ts";
import { FormatError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import type { Digest } from "../../hash/index.ts";
import { passingChunksOf, type ReadOptions, type Source } from "../../source/index.ts";
import { isIndexType, isManifestType, LAYOUT_VERSION, MAX_DOCUMENT_SIZE, MAX_INDEX_DEPTH, REF_NAME } from "./format.ts";
import { type Descriptor, type Index, parseIndex } from "./read.ts";
import { type BlobStream, type ImageStore, type Selector, verifiedLength } from "./store.ts";

/** A source that holds something open. */
export interface ClosableSource extends Source {
  close(): Promise<void>;
}

/** Files by path, relative, with slashes. `open` throws SourceError `not-found` where there is none. */
export interface FileTree {
  open(path: string): Promise<ClosableSource>;
  close(): Promise<void>;
}

/** Bytes read at once from a blob. */
const BLOB_CHUNK_SIZE = 1024 * 1024;
/** Tags that an error lists. */
const MAX_LISTED = 20;

const LayoutFile = v.looseObject({ imageLayoutVersion: v.string() });

/**
 * Opens a layout; it owns `files` from here on. Errors: SourceError `not-a-layout`; FormatError `bad-json`,
 * `bad-layout`, `bad-index`, `too-large`; UnsupportedError `layout-version`.
 * @param name for people, such as `oci:/srv/image`
 */
export async function openLayout(files: FileTree, name: string, options?: ReadOptions): Promise<ImageStore> {
  const index = await readIndex(files, name, options);
  const store: ImageStore = {
    name,
    async resolve(selector, readOptions) {
      const { digest } = selector;
      const nested = digest === undefined ? undefined : await findNested(store, index, digest, 0, readOptions);
      return nested ?? selectManifest(index, selector, name);
    },
    async open({ digest }) {
      const path = `blobs/${digest.replace(":", "/")}`;
      let source: ClosableSource;
      try {
        source = await files.open(path);
      } catch (cause) {
        if (isAshlarError(cause) && cause.code === "not-found")
          throw new SourceError("no-blob", `${name}: blob ${digest} is missing`, { cause });
        throw cause;
      }
      return sourceBlob(source);
    },
    close: () => files.close(),
  };
  return store;
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
  store: ImageStore,
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

async function readIndex(files: FileTree, name: string, options?: ReadOptions): Promise<Index> {
  try {
    const what = `${name}: oci-layout`;
    const text = decodeUtf8Strict(await readFile(files, "oci-layout", name, options));
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
    return parseIndex(await readFile(files, "index.json", name, options), `${name}: index.json`);
  } catch (error) {
    await files.close();
    throw error;
  }
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
  const matching = images.filter((image) =>
    digest !== undefined ? image.digest === digest : tag === undefined || image.annotations[REF_NAME] === tag,
  );
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

function list(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED).map(oneLine);
  return shown.join(", ") + (names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : "");
}
