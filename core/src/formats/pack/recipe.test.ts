import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { equalBytes } from "../../bytes/index.ts";
import type { Digest } from "../../hash/index.ts";
import { encodeRecipe, parseRecipe, RawPackEntry, RawRecipeHeader, type Recipe, runCollector } from "./index.ts";

const PARAMETERS = { algorithm: "sha256", salt: Uint8Array.of(7, 7), blockSize: 4096 } as const;
const digestOf = (n: number): Digest => `sha256:${n.toString(16).padStart(64, "0")}`;
const PACKS = ([undefined, "amd64", "arm64"] as const).map((filter, n) => ({
  digest: digestOf(n),
  size: 10_000 + n,
  blocks: 1000 * (n + 1),
  frameScale: n + 1,
  filter,
}));

/** Runs as a root has them: of any pack, forward and back. */
const recipeArbitrary = fc
  .array(
    fc.record({
      pack: fc.option(fc.nat(2), { nil: undefined }),
      place: fc.nat(900),
      count: fc.integer({ min: 1, max: 99 }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((parts): Recipe => {
    const { add, runs } = runCollector();
    for (const { pack, place, count } of parts) add(pack, place, count);
    const blocks = runs.reduce((sum, { count }) => sum + count, 0);
    return { parameters: PARAMETERS, blocks, packs: PACKS, runs };
  })
  .filter(({ runs }) =>
    runs.every(({ pack, first, count }) => pack === undefined || first + count <= PACKS[pack]!.blocks),
  );

/** Whether a byte of a recipe with the salt of {@link PARAMETERS} lies in a reserved field. */
function isReserved(at: number): boolean {
  const { reserved } = RawRecipeHeader.fields;
  if (at < RawRecipeHeader.size) return at >= reserved.offset;
  const place = (at - RawRecipeHeader.size - PARAMETERS.salt.length) % RawPackEntry.size;
  return place >= RawPackEntry.fields.reserved.offset;
}

test("a recipe is read as it was written", () => {
  fc.assert(
    fc.property(recipeArbitrary, (recipe) => {
      const bytes = encodeRecipe(recipe);
      assert.deepEqual(parseRecipe(bytes, "recipe"), recipe);
    }),
  );
});

test("there is one way to write a recipe, so a change is seen or refused", () => {
  fc.assert(
    fc.property(recipeArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (recipe, at, change) => {
      const bytes = encodeRecipe(recipe);
      bytes[at % bytes.length]! ^= change; // in range
      let read: Recipe;
      try {
        read = parseRecipe(bytes, "recipe");
      } catch (error) {
        const { kind } = error as { kind: string };
        return assert.ok(kind === "FormatError" || kind === "UnsupportedError", String(error));
      }
      // What is read is what is written, but for reserved bytes, which readers leave to later versions.
      const again = encodeRecipe(read);
      assert.ok(equalBytes(again, bytes) || (equalBytes(again, encodeRecipe(recipe)) && isReserved(at % bytes.length)));
    }),
  );
});

test("neighbours that continue each other become one run", () => {
  const { add, runs } = runCollector();
  add(0, 5);
  add(0, 6, 2);
  add(undefined, 0);
  add(undefined, 0, 3);
  add(0, 8);
  add(1, 9);
  assert.deepEqual(runs, [
    { start: 0, count: 3, pack: 0, first: 5 },
    { start: 3, count: 4, pack: undefined, first: 0 },
    { start: 7, count: 1, pack: 0, first: 8 },
    { start: 8, count: 1, pack: 1, first: 9 },
  ]);
});

test("bounds of a recipe", () => {
  const valid: Recipe = {
    parameters: PARAMETERS,
    blocks: 4,
    packs: PACKS,
    runs: [{ start: 0, count: 4, pack: 0, first: 0 }],
  };
  const refuse = (change: (bytes: Uint8Array) => Uint8Array | undefined, message: RegExp) => {
    const bytes = encodeRecipe(valid);
    assert.throws(() => parseRecipe(change(bytes) ?? bytes, "recipe"), message);
  };
  refuse((bytes) => bytes.subarray(0, bytes.length - 1), /needs 1 bytes/);
  refuse((bytes) => Uint8Array.from([...bytes, 0]), /its runs make 4 of 4 blocks/);
  refuse((bytes) => void bytes.fill(0xff, 16, 20), /a root of 4294967295 blocks/);
  refuse((bytes) => void bytes.fill(0xff, 24, 26), /65535 packs/);
  refuse((bytes) => void bytes.set([9], bytes.length - 3), /pack 8 of 3/);
  refuse((bytes) => void bytes.set([5], bytes.length - 2), /ends at block 5 of 4/);
  refuse((bytes) => void bytes.set([1], bytes.length - 1), /blocks -1 to 3/);
  refuse((bytes) => Uint8Array.from([...bytes.subarray(0, -1), 0x80, 0]), /needless zeros/);
  assert.throws(() => encodeRecipe({ ...valid, blocks: 2 ** 25 }), RangeError);
});
