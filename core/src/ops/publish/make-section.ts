/** Makes a section of a UKI from the root by its recipe. */
import { fromUtf8 } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError } from "../../errors/index.ts";
import { type ErofsImage, openErofs } from "../../formats/erofs/index.ts";
import type { Repository } from "../../formats/oci/index.ts";
import { formatDigest, type Hashes } from "../../hash/index.ts";
import {
  bytesSource,
  fillFrom,
  type Piece,
  piecewiseSource,
  type ReadOptions,
  type Source,
  sliceSource,
} from "../../source/index.ts";
import type { CompressContent } from "../environment.ts";
import { digestSource } from "../release/describe.ts";
import { type FrameLayerEnvironment, readFrameLayer } from "./frame-layer.ts";
import type { ReleaseManifest } from "./manifest.ts";
import { ANNOTATION_SECTION_DIGEST } from "./media-types.ts";
import { contentSizeOf, MAX_SECTION_RECIPE, parseSectionRecipe, type SectionRecipe } from "./section-recipe.ts";
import type { StoredSection } from "./stored-section.ts";

export interface MakeSectionEnvironment extends ReadOptions {
  readonly hashes: Hashes;
  readonly compressContent: CompressContent;
}

/**
 * The section, held against size and digest; undefined where it comes out otherwise, as with another version of the encoder.
 * Errors are those of reading the root, which need not be what the recipe was made for; FormatError `no-such-file`.
 */
export async function makeSection(
  recipe: SectionRecipe,
  { digest, size }: Pick<StoredSection, "digest" | "size">,
  root: Source,
  { hashes, compressContent, signal }: MakeSectionEnvironment,
): Promise<Source | undefined> {
  const content = contentOf(recipe, await openErofs(root));
  const { frames } = recipe;
  if (frames.length === 0)
    return content.size === size && (await digestSource(content, hashes, { signal })) === digest ? content : undefined;
  const parts: Source[] = [];
  for (let start = 0; parts.length < frames.length; ) {
    const length = frames[parts.length]!; // in range
    parts.push(sliceSource(content, start, length));
    start += length;
  }
  let held: { readonly index: number; readonly bytes: Uint8Array } | undefined;
  async function frame(index: number): Promise<Uint8Array> {
    if (held?.index !== index) {
      held = undefined; // before the next one takes its memory
      held = { index, bytes: await compressContent(parts[index]!, { signal }) }; // index of frames
    }
    return held.bytes;
  }
  // Made twice, now for the digest and later to be read, but for the last one: then no more than a frame is in memory.
  const hasher = hashes.create("sha256");
  const sizes: number[] = [];
  for (const index of frames.keys()) {
    const bytes = await frame(index);
    hasher.update(bytes);
    sizes.push(bytes.length);
  }
  if (formatDigest("sha256", hasher.digest()) !== digest) return undefined;
  let at = 0;
  const pieces = sizes.map((length, index): Piece => {
    const piece = { at, source: lateSource(length, () => frame(index)) };
    at += length;
    return piece;
  });
  return at === size ? piecewiseSource(size, pieces) : undefined;
}

/** Bytes that are made when they are read. Throws IntegrityError `size-mismatch` where they are not as many as they were. */
function lateSource(size: number, make: () => Promise<Uint8Array>): Source {
  return {
    size,
    async read(offset, length) {
      const bytes = await make();
      if (bytes.length !== size)
        throw new IntegrityError("size-mismatch", `a frame of a section has ${bytes.length} bytes, it had ${size}`, {
          expected: size,
          actual: bytes.length,
        });
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** Where sections need not come from the repository. */
export interface SectionRoot {
  /** The root of the release, or what is to be it: nothing is lost where it is another. */
  readonly root: Source;
  readonly compressContent: CompressContent;
}

/**
 * A section of a release, made from its root; undefined where it has no recipe, or none that leads to it: then it is fetched.
 * Errors are those of fetching the recipe.
 * @param onProgress is told how many bytes were fetched
 */
export async function makeStoredSection(
  repository: Repository,
  { sectionRecipes }: ReleaseManifest,
  section: StoredSection,
  { root, compressContent }: SectionRoot,
  environment: FrameLayerEnvironment,
  onProgress: (amount: number) => void,
): Promise<Source | undefined> {
  const layer = sectionRecipes.find(({ annotations }) => annotations[ANNOTATION_SECTION_DIGEST] === section.digest);
  if (layer === undefined) return undefined;
  const what = `${repository.name}: recipe of a section ${layer.digest}`;
  const bytes = await readFrameLayer(repository, layer, MAX_SECTION_RECIPE, environment, what);
  onProgress(layer.size);
  const { hashes, signal } = environment;
  try {
    const recipe = parseSectionRecipe(bytes, section.size, what);
    return await makeSection(recipe, section, root, { hashes, compressContent, signal });
  } catch (error) {
    if (isAshlarError(error)) return undefined; // a recipe that is newer or wrong, a disk that gives other bytes
    throw error;
  }
}

/** What the pieces are together, read where it lies. */
function contentOf(recipe: SectionRecipe, image: ErofsImage): Source {
  const placed: Piece[] = [];
  let at = 0;
  let literal = 0;
  for (const { path, at: from = 0, size } of recipe.pieces) {
    placed.push({
      at,
      source:
        path === undefined
          ? bytesSource(recipe.literals.subarray(literal, literal + size))
          : fileWindow(image, path, from, size),
    });
    if (path === undefined) literal += size;
    at += size;
  }
  return piecewiseSource(contentSizeOf(recipe), placed);
}

/** Bytes of a file that is looked for when it is read: an initrd is some hundred of them. */
function fileWindow(image: ErofsImage, path: string, at: number, size: number): Source {
  async function window(): Promise<Source> {
    const inode = await image.lookup(fromUtf8(path));
    if (inode?.type !== "file" || at + size > inode.size)
      throw new FormatError("no-such-file", `${JSON.stringify(path)}: no file of the root has ${at + size} bytes`, {
        path,
      });
    return sliceSource(image.content(inode), at, size);
  }
  return {
    size,
    read: async (offset, length, options) => (await window()).read(offset, length, options),
    async readInto(offset, target) {
      await fillFrom(await window(), offset, target);
    },
  };
}
