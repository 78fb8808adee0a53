/** Finds out how a section of a UKI is made from the root; a section that does not come out byte for byte gets no recipe. */
import { type ByteString, bytesOf, concatBytes, decodeUtf8Strict } from "../../bytes/index.ts";
import { zstdFrameHeader, zstdFrameSize } from "../../codecs/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { parseCpio } from "../../formats/cpio/index.ts";
import { openErofs, readTree } from "../../formats/erofs/index.ts";
import type { Digest } from "../../hash/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import { walkTree } from "../../tree/index.ts";
import { digestSource } from "../release/describe.ts";
import type { PublishEnvironment } from "./environment.ts";
import { makeSection } from "./make-section.ts";
import {
  encodeSectionRecipe,
  MAX_COMPRESSED_CONTENT,
  MAX_SECTION_RECIPE,
  parseSectionRecipe,
  type SectionPiece,
  type SectionRecipe,
} from "./section-recipe.ts";

/** Files with fewer bytes are literals: their path costs about as much. */
const MIN_FILE = 512;
/** Bytes of an initrd, as it is and uncompressed. */
const MAX_ARCHIVE = 256 * 1024 * 1024;

export interface FoundSection {
  readonly content: Source;
  readonly digest: Digest;
}

export interface RootFiles {
  /** The path of a file with this content; `likely` is looked at first. */
  find(content: Source, likely?: ByteString): Promise<string | undefined>;
}

/** The regular files of a root, to be found by content. Their digests are made where another has the same size. */
export async function rootFiles(
  root: Source,
  { hashes, decompressor, signal }: PublishEnvironment,
): Promise<RootFiles> {
  const bySize = new Map<number, { readonly path: ByteString; readonly content: Source; digest?: Promise<Digest> }[]>();
  for (const { path, node } of walkTree(await readTree(await openErofs(root, { decompressor })))) {
    if (node.type !== "file" || node.content.size < MIN_FILE) continue;
    const same = bySize.get(node.content.size) ?? [];
    same.push({ path, content: node.content });
    bySize.set(node.content.size, same);
  }
  return {
    async find(content, likely) {
      const files = bySize.get(content.size) ?? [];
      const digest = files.length === 0 ? undefined : await digestSource(content, hashes, { signal });
      for (const file of files.toSorted((a, b) => Number(b.path === likely) - Number(a.path === likely))) {
        file.digest ??= digestSource(file.content, hashes, { signal });
        if ((await file.digest) === digest) return decodeUtf8Strict(bytesOf(file.path));
      }
      return undefined;
    },
  };
}

/**
 * The layer of a section's recipe; undefined where there is none that saves half of the section. Known are files of the
 * root as they are, such as a kernel, and cpio archives of such files, as they are or as `compressors.zstd` makes them.
 */
export async function findSection(
  section: FoundSection,
  root: Source,
  files: RootFiles,
  environment: PublishEnvironment,
): Promise<Uint8Array | undefined> {
  const { compressors } = environment;
  const { digest, content } = section;
  const recipe = await draftRecipe(content, files, environment);
  if (recipe === undefined) return undefined;
  const bytes = encodeSectionRecipe(recipe);
  if (bytes.length > MAX_SECTION_RECIPE) return undefined;
  const layer = await compressors.zstd(bytes);
  if (layer.length * 2 > content.size) return undefined;
  try {
    // Exactly what a device will do: another encoder, or a path that it could not follow, shows here.
    const parsed = parseSectionRecipe(bytes, content.size, "recipe of a section");
    const made = await makeSection(parsed, { digest, size: content.size }, root, environment);
    return made === undefined ? undefined : layer;
  } catch (error) {
    if (isAshlarError(error)) return undefined;
    throw error;
  }
}

async function draftRecipe(
  section: Source,
  files: RootFiles,
  environment: PublishEnvironment,
): Promise<SectionRecipe | undefined> {
  const path = await files.find(section);
  if (path !== undefined)
    return { compression: "none", frames: [], pieces: [{ path, size: section.size }], literals: new Uint8Array(0) };
  const archive = await archiveIn(section, environment);
  if (archive === undefined) return undefined;
  const { compression, frames, bytes } = archive;
  const pieces: SectionPiece[] = [];
  const literals: Uint8Array[] = [];
  let done = 0;
  function addLiteral(end: number): void {
    if (end === done) return;
    pieces.push({ size: end - done });
    literals.push(bytes.subarray(done, end));
    done = end;
  }
  for (const { name, content } of archive.entries) {
    if (content.length < MIN_FILE) continue;
    const found = await files.find(bytesSource(content), name);
    if (found === undefined) continue;
    addLiteral(content.byteOffset - bytes.byteOffset);
    pieces.push({ path: found, size: content.length });
    done += content.length;
  }
  addLiteral(bytes.length);
  return { compression, frames, pieces, literals: concatBytes(...literals) };
}

/** The cpio archives that a section is, or that it has in zstd frames behind each other. */
async function archiveIn(section: Source, { decompressFrame, signal }: PublishEnvironment) {
  if (section.size > MAX_ARCHIVE) return undefined;
  const stored = await section.read(0, section.size, { signal });
  try {
    if (zstdFrameHeader(stored)?.contentSize === undefined)
      return { compression: "none", frames: [], bytes: stored, entries: parseCpio(stored).entries } as const;
    const contents: Uint8Array[] = [];
    let total = 0;
    for (let at = 0; at < stored.length; ) {
      const rest = stored.subarray(at);
      const [size, length] = [zstdFrameHeader(rest)?.contentSize, zstdFrameSize(rest)];
      if (size === undefined || length === undefined || size > MAX_COMPRESSED_CONTENT) return undefined;
      total += size;
      if (total > MAX_ARCHIVE) return undefined;
      contents.push(decompressFrame(rest.subarray(0, length), size, "section"));
      at += length;
    }
    const bytes = concatBytes(...contents);
    const frames = contents.map(({ length }) => length);
    return { compression: "zstd-9", frames, bytes, entries: parseCpio(bytes).entries } as const;
  } catch (error) {
    if (isAshlarError(error)) return undefined; // something else, as a kernel
    throw error;
  }
}
