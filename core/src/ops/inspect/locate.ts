/** What a person means by a word on the command line: a reference, or a file that is recognised by its content. */
import { byteString, decodeUtf8 } from "../../bytes/index.ts";
import { FormatError, isAshlarError, SourceError } from "../../errors/index.ts";
import { isErofs } from "../../formats/erofs/index.ts";
import type { ClosableSource, FileTree } from "../../formats/oci/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { openArchiveTree } from "../image/archive.ts";
import { type HostFiles, parseReference, type Reference } from "../image/index.ts";
import { MAX_RELEASE_SIZE } from "../release/index.ts";

/** What a file holds. */
export type ContentKind = "release" | "erofs" | "verity" | "disk" | "pe" | "initrd" | "fat" | "archive";

export type Located =
  | { readonly kind: "image"; readonly reference: Reference }
  | { readonly kind: ContentKind; readonly path: string; readonly source: ClosableSource };

/** Archives that begin with one of these are taken for an initrd: nothing else that is compressed as a whole is looked into. */
export const COMPRESSIONS: readonly (readonly [name: string, magic: readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["lzma", [0x5d, 0x00, 0x00]],
  ["lzo", [0x89, 0x4c, 0x5a, 0x4f]],
  ["lz4", [0x02, 0x21, 0x4c, 0x18]],
];

/** The compression whose magic `bytes` begin with. */
export function compressionOf(bytes: Uint8Array): string | undefined {
  return COMPRESSIONS.find(([, magic]) => magic.every((byte, index) => bytes[index] === byte))?.[0];
}

const HEAD_SIZE = 4096 + 512;

/** Looks at the first bytes, and where needed at the last sector. Undefined for what is none of all. */
export async function recognise(source: Source, options?: ReadOptions): Promise<ContentKind | undefined> {
  if (source.size === 0) return undefined;
  const head = await source.read(0, Math.min(HEAD_SIZE, source.size), options);
  const text = (start: number, length: number): string => byteString(head.subarray(start, start + length));
  if (await isErofs(source)) return "erofs";
  if (text(0, 8) === "verity\0\0") return "verity";
  if (text(512, 8) === "EFI PART" || text(4096, 8) === "EFI PART") return "disk";
  if (text(0, 2) === "MZ") return "pe";
  if (text(0, 5) === "07070" || compressionOf(head) !== undefined) return "initrd";
  if (text(257, 5) === "ustar") return "archive";
  if (text(82, 5) === "FAT32" || text(54, 3) === "FAT") return "fat";
  if (source.size <= MAX_RELEASE_SIZE && /^\s*\{/.test(decodeUtf8(head))) return "release";
  for (const sectorSize of [512, 4096]) {
    const at = (Math.floor(source.size / sectorSize) - 1) * sectorSize;
    if (at > 0 && byteString(await source.read(at, 8, options)) === "EFI PART") return "disk"; // by its backup table
  }
  return undefined;
}

/**
 * Transports of ops/image are references; everything else is a path: of a file, or of a directory that holds an OCI
 * layout; or, where there is no such path and it begins with a host, an image of a registry. The caller closes what comes open.
 * Throws SourceError `not-found` and the like; FormatError `not-an-image` for a file that holds nothing known.
 */
export async function locate(word: string, files: HostFiles, options?: ReadOptions): Promise<Located> {
  const reference = asReference(word);
  if (reference !== undefined && TRANSPORT.test(word)) return { kind: "image", reference };
  let source: ClosableSource;
  try {
    source = await files.openFile(word);
  } catch (error) {
    // `HOST/NAME` may be a path too; what is there is meant.
    const isMissing = isAshlarError(error) && (error.code === "not-found" || error.code === "not-a-directory");
    if (isMissing && reference !== undefined) return { kind: "image", reference };
    if (isAshlarError(error) && (error.code === "not-a-file" || error.code === "is-a-directory")) {
      const layout = await directoryReference(word, files).catch((reason: unknown) => {
        throw isAshlarError(reason) && reason.code === "not-a-directory" ? error : reason; // a fifo, a terminal
      });
      if (layout !== undefined) return { kind: "image", reference: layout };
      throw new SourceError("not-an-image", `${word}: is a directory without an OCI image layout`, { path: word });
    }
    throw error;
  }
  try {
    if (source.size === 0) throw new FormatError("not-an-image", `${word}: is empty`, { path: word });
    const kind = await recognise(source, options);
    if (kind === undefined)
      throw new FormatError(
        "not-an-image",
        `${word}: is no release, disk, EROFS image, hash device, UKI, initrd, FAT volume or OCI archive`,
        { path: word },
      );
    if (kind !== "archive") return { kind, path: word, source };
    await source.close();
    return { kind: "image", reference: await archiveReference(word, files, options) };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Transports of ops/image by name: what begins with one is a reference, even a bad one. */
const TRANSPORT = /^(docker|oci|oci-archive|docker-archive|dir|tar|containers-storage):/;

/** Undefined for a path. Errors of references that name an unknown transport pass. */
function asReference(word: string): Reference | undefined {
  try {
    return parseReference(word);
  } catch (error) {
    if (isAshlarError(error) && error.code === "bad-reference" && !TRANSPORT.test(word)) return undefined;
    throw error;
  }
}

/** An archive of an image, or of files. */
async function archiveReference(path: string, files: HostFiles, options?: ReadOptions): Promise<Reference> {
  const tree = await openArchiveTree(await files.openFile(path), path, options);
  try {
    for (const [marker, transport] of [
      ["oci-layout", "oci-archive"],
      ["manifest.json", "docker-archive"],
    ] as const)
      if (await hasFile(tree, marker)) return parseReference(`${transport}:${path}`);
    return parseReference(`tar:${path}`);
  } finally {
    await tree.close();
  }
}

async function hasFile(tree: FileTree, path: string): Promise<boolean> {
  try {
    const file = await tree.open(path);
    await file.close();
    return true;
  } catch (error) {
    if (isAshlarError(error) && error.code === "not-found") return false;
    throw error;
  }
}

/** A directory that is an OCI layout. */
async function directoryReference(path: string, files: HostFiles): Promise<Reference | undefined> {
  const tree = await files.openDirectory(path);
  try {
    return (await hasFile(tree, "oci-layout")) ? parseReference(`oci:${path}`) : undefined;
  } finally {
    await tree.close();
  }
}

/** The directory part of a path, so that artifacts are found beside their release. */
export function directoryOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}
