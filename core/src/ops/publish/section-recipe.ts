/**
 * How a section of a UKI is made from the root, so that who has the new root need not fetch it: an initrd is copies of files
 * of the root, some bytes between them, and a compression. Nothing of a recipe is trusted: what comes out has the digest of
 * the section, or the section is fetched.
 */
import * as v from "valibot";
import { concatBytes, encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";

export const SECTION_RECIPE_SCHEMA = "ashlar.section-recipe/v1";

/** Bytes of a recipe, uncompressed and as stored. That of a Debian initrd has 0.2 MB, stored 30 kB. */
export const MAX_SECTION_RECIPE = 4 * 1024 * 1024;
/** Pieces of one recipe; an initrd has some hundred files. */
const MAX_SECTION_PIECES = 20_000;
/** Bytes of a section that is made, and of its content; kernels and initrds of distributions have 10 to 100 MB. */
const MAX_MADE_SECTION = 256 * 1024 * 1024;
/** Bytes of content of one frame that is to be made: all of it is in memory then, and half as much again. */
export const MAX_COMPRESSED_CONTENT = 40 * 1024 * 1024;
/** Frames of one section; `build` makes one of each 4 MiB. */
const MAX_SECTION_FRAMES = 1024;
/** Bytes of a path of the root. */
const MAX_PATH = 4096;

/** `none`: the content is the section. `zstd-9`: the frames that the pinned encoder makes of it at that level. */
const COMPRESSIONS = ["none", "zstd-9"] as const;

const SectionPieceEntry = v.object({
  /** Of a file of the root, without a leading slash; no links on the way. Without it the next bytes behind the document. */
  path: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_PATH))),
  /** Bytes from the start of the file; 0 where absent. */
  at: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  /** Bytes. */
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
});

const SectionRecipeSchema = v.object({
  schema: v.literal(SECTION_RECIPE_SCHEMA),
  compression: v.picklist(COMPRESSIONS),
  /** Bytes of content in each frame. Absent: there is one, of all of it. */
  frames: v.optional(
    v.pipe(
      v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
      v.minLength(1),
      v.maxLength(MAX_SECTION_FRAMES),
    ),
  ),
  pieces: v.pipe(v.array(SectionPieceEntry), v.maxLength(MAX_SECTION_PIECES)),
});

export type SectionPiece = v.InferOutput<typeof SectionPieceEntry>;

export interface SectionRecipe {
  readonly compression: (typeof COMPRESSIONS)[number];
  /** Bytes of content in each frame; none where the content is the section. */
  readonly frames: readonly number[];
  readonly pieces: readonly SectionPiece[];
  /** Content of the pieces without a path, one behind the other. */
  readonly literals: Uint8Array;
}

const NEWLINE = 0x0a;

/** One line of JSON, and the literals behind it. */
export function encodeSectionRecipe({ compression, frames, pieces, literals }: SectionRecipe): Uint8Array {
  const split = frames.length > 1 ? { frames } : {};
  const document = { schema: SECTION_RECIPE_SCHEMA, compression, ...split, pieces };
  return concatBytes(encodeUtf8(JSON.stringify(document)), Uint8Array.of(NEWLINE), literals);
}

/** Bytes of what the pieces are together. */
export function contentSizeOf({ pieces }: Pick<SectionRecipe, "pieces">): number {
  return pieces.reduce((sum, { size }) => sum + size, 0);
}

/**
 * @param sectionSize bytes of the section
 * Throws FormatError `bad-json`, `bad-section-recipe`; UnsupportedError `section-recipe-schema`.
 */
export function parseSectionRecipe(bytes: Uint8Array, sectionSize: number, what: string): SectionRecipe {
  const fail = (message: string): never => {
    throw new FormatError("bad-section-recipe", `${what}: ${message}`, { path: what });
  };
  const end = bytes.indexOf(NEWLINE);
  if (end < 0) fail("has no line of JSON");
  const document = parseDocument(bytes.subarray(0, end), what);
  const { schema } = (document ?? {}) as { schema?: unknown };
  if (typeof schema === "string" && schema.startsWith("ashlar.section-recipe/") && schema !== SECTION_RECIPE_SCHEMA)
    throw new UnsupportedError(
      "section-recipe-schema",
      `${what}: schema ${JSON.stringify(schema.slice(0, 40))} is newer than this Ashlar`,
    );
  const checked = checkDocument(SectionRecipeSchema, document, "bad-section-recipe", what);
  const { compression, pieces } = checked;
  const literals = bytes.subarray(end + 1);
  const literalSize = contentSizeOf({ pieces: pieces.filter(({ path }) => path === undefined) });
  if (literalSize !== literals.length) fail(`has ${literals.length} bytes of literals, its pieces ${literalSize}`);
  const size = contentSizeOf({ pieces });
  const frames = compression === "none" ? [] : (checked.frames ?? [size]);
  const made = compression === "none" ? sectionSize : frames.reduce((sum, frame) => sum + frame, 0);
  if (size !== made || Math.max(size, sectionSize) > MAX_MADE_SECTION)
    fail(`makes ${size} bytes for a section of ${sectionSize}, in frames of ${made}`);
  if (frames.some((frame) => frame > MAX_COMPRESSED_CONTENT))
    fail(`a frame has more than ${MAX_COMPRESSED_CONTENT} bytes`);
  return { compression, frames, pieces, literals };
}
