import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../bytes/index.ts";
import {
  contentSizeOf,
  encodeSectionRecipe,
  MAX_COMPRESSED_CONTENT,
  parseSectionRecipe,
  SECTION_RECIPE_SCHEMA,
  type SectionPiece,
} from "./section-recipe.ts";

const SIZE = 1000;
const GOOD = { schema: SECTION_RECIPE_SCHEMA, compression: "none", pieces: [{ path: "a", size: 990 }, { size: 10 }] };
const written = (document: unknown, literals = 10) =>
  Buffer.concat([Buffer.from(`${JSON.stringify(document)}\n`), Buffer.alloc(literals, 7)]);
const parse = (bytes: Uint8Array, size = SIZE) => parseSectionRecipe(bytes, size, "recipe");

const piece = fc.record(
  { path: fc.string({ minLength: 1 }), at: fc.nat(), size: fc.integer({ min: 1, max: 200 }) },
  { requiredKeys: ["size"] },
);

test("what is written is read, whatever the pieces", () => {
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1 }), fc.nat(3), fc.nat(), (drafts, cuts, fill) => {
      const pieces: SectionPiece[] = drafts.map(({ at, ...rest }) =>
        "path" in rest && at !== undefined ? { ...rest, at } : rest,
      );
      const size = contentSizeOf({ pieces: pieces.filter(({ path }) => path === undefined) });
      const literals = new Uint8Array(size).fill(fill);
      const content = contentSizeOf({ pieces });
      const frames = [...Array<number>(Math.min(cuts, content - 1)).fill(1), content - Math.min(cuts, content - 1)];
      const compressed = { compression: "zstd-9", frames, pieces, literals } as const;
      assert.deepEqual(parse(encodeSectionRecipe(compressed), 1), compressed);
      const recipe = { compression: "none", frames: [], pieces, literals } as const;
      assert.deepEqual(parse(encodeSectionRecipe(recipe), contentSizeOf(recipe)), recipe);
    }),
  );
});

test("what is not one, or asks for too much, is refused", () => {
  parse(written(GOOD));
  const refused: readonly (readonly [Uint8Array, string])[] = [
    [encodeUtf8(JSON.stringify(GOOD)), "bad-section-recipe"], // no line
    [encodeUtf8("{\n"), "bad-json"],
    [written({ ...GOOD, schema: "ashlar.section-recipe/v2" }), "section-recipe-schema"],
    [written({ ...GOOD, compression: "xz" }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-19" }), "bad-section-recipe"], // levels cost memory
    [written(GOOD, 9), "bad-section-recipe"],
    [written(GOOD, 11), "bad-section-recipe"],
    [written({ ...GOOD, pieces: [{ path: "a", size: 991 }, { size: 10 }] }), "bad-section-recipe"],
    [written({ ...GOOD, pieces: [{ path: "a", size: -1 }, { size: 10 }] }), "bad-section-recipe"],
    [written({ ...GOOD, pieces: [{ path: "", size: 990 }, { size: 10 }] }), "bad-section-recipe"],
    [written({ ...GOOD, pieces: [{ path: "a".repeat(5000), size: 990 }, { size: 10 }] }), "bad-section-recipe"],
    [written({ ...GOOD, pieces: [{ path: "a", at: 2 ** 60, size: 990 }, { size: 10 }] }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-9", frames: [] }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-9", frames: [999] }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-9", frames: [1000, 0] }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-9", frames: [1001, -1] }), "bad-section-recipe"],
    [written({ ...GOOD, compression: "zstd-9", frames: Array(1025).fill(1) }), "bad-section-recipe"],
    [written({ ...GOOD, pieces: Array(20_001).fill({ path: "a", size: 1 }) }, 0), "bad-section-recipe"],
    [
      written({ ...GOOD, compression: "zstd-9", pieces: [{ path: "a", size: MAX_COMPRESSED_CONTENT + 1 }] }, 0),
      "bad-section-recipe",
    ],
  ];
  for (const [bytes, code] of refused)
    assert.throws(() => parse(bytes), { code }, Buffer.from(bytes).toString("latin1").slice(0, 150));
  // A section of that size is not made, whatever it is made of.
  const huge = { ...GOOD, pieces: [{ path: "a", size: 2 ** 40 }] };
  assert.throws(() => parse(written(huge, 0), 2 ** 40), { code: "bad-section-recipe" });
});
