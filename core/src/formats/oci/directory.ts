/**
 * skopeo's `dir:` transport: one image in a directory, `manifest.json` and blobs by their hexadecimal digest. Made for
 * debugging and known to few, but a layout all the same. Spec: containers/image, docs/containers-transports.5.md.
 */
import { decodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { MAX_DOCUMENT_SIZE } from "./format.ts";
import { type ClosableSource, type FileTree, sourceBlob } from "./layout.ts";
import { type Descriptor, documentMediaType } from "./read.ts";
import type { ImageStore } from "./store.ts";

const VERSION_FILE = /^Directory Transport Version: ([0-9]+)\./;
const VERSION = "1";
/** Bytes; the real one has 33. */
const MAX_VERSION_SIZE = 1024;
const MANIFEST_FILE = "manifest.json";

async function openIfThere(files: FileTree, path: string): Promise<ClosableSource | undefined> {
  try {
    return await files.open(path);
  } catch (error) {
    if (isAshlarError(error) && (error.code === "not-found" || error.code === "not-a-file")) return undefined;
    throw error;
  }
}

async function readSmall(source: ClosableSource, limit: number, options?: ReadOptions): Promise<Uint8Array> {
  try {
    return await source.read(0, Math.min(source.size, limit), options);
  } finally {
    await source.close();
  }
}

/** Whether a directory says of itself that it is such a layout, rather than the root of a system. */
export async function isDirectoryTransport(files: FileTree, options?: ReadOptions): Promise<boolean> {
  const version = await openIfThere(files, "version");
  return version !== undefined && VERSION_FILE.test(decodeUtf8(await readSmall(version, MAX_VERSION_SIZE, options)));
}

/**
 * Opens such a directory; it owns `files` from here on. Errors: SourceError `not-a-layout`; FormatError `bad-json`,
 * `bad-manifest`, `too-large`; UnsupportedError `layout-version`, `media-type`.
 */
export async function openDirectoryTransport(
  files: FileTree,
  name: string,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<ImageStore> {
  let top: Descriptor;
  try {
    top = await readTop(files, name, hashes, options);
  } catch (error) {
    await files.close();
    throw error;
  }
  return {
    name,
    async resolve({ digest }) {
      if (digest === undefined || digest === top.digest) return top;
      throw new SourceError("no-such-image", `${name}: no ${digest}; it has ${top.digest}`, { path: name });
    },
    async open({ digest }) {
      for (const path of digest === top.digest ? [MANIFEST_FILE] : blobNames(digest)) {
        const source = await openIfThere(files, path);
        if (source !== undefined) return sourceBlob(source);
      }
      throw new SourceError("no-blob", `${name}: blob ${digest} is missing`);
    },
    close: () => files.close(),
  };
}

/** Of a blob, then of a manifest that an index names. */
function blobNames(digest: Digest): string[] {
  const [algorithm = "", hex = ""] = digest.split(":");
  const stem = algorithm === "sha256" ? hex : `${algorithm}-${hex}`;
  return [stem, `${stem}.manifest.json`];
}

async function readTop(files: FileTree, name: string, hashes: Hashes, options?: ReadOptions): Promise<Descriptor> {
  const version = await openIfThere(files, "version");
  const text = version === undefined ? "" : decodeUtf8(await readSmall(version, MAX_VERSION_SIZE, options));
  const major = VERSION_FILE.exec(text)?.[1];
  if (major === undefined) throw new SourceError("not-a-layout", `${name}: version is missing`, { path: "version" });
  if (major !== VERSION)
    throw new UnsupportedError("layout-version", `${name}: version ${major} of the layout is not supported`);
  const file = await openIfThere(files, MANIFEST_FILE);
  if (file === undefined)
    throw new SourceError("not-a-layout", `${name}: ${MANIFEST_FILE} is missing`, { path: MANIFEST_FILE });
  const bytes = await readSmall(file, MAX_DOCUMENT_SIZE + 1, options); // documentMediaType refuses the byte too many
  const mediaType = documentMediaType(bytes, `${name}: ${MANIFEST_FILE}`);
  return { mediaType, digest: digestOf(hashes, bytes), size: bytes.length, annotations: {} };
}
