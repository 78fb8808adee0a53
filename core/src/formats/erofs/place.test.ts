import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8 } from "../../bytes/index.ts";
import { bytesSource, memorySink } from "../../source/index.ts";
import { attributes, directory, regularFile } from "../../tree/index.ts";
import { dumpSpace, openErofs, writeErofs } from "./index.ts";
import { fillingPlacer, orderedPlacer, type Unit } from "./place.ts";
import { patternBytes } from "./trees.test.ts";

/** As inodes are: the part that stays whole has room in one block together with what comes before it. */
const unit = (blockSize: number): fc.Arbitrary<Unit> =>
  fc.oneof(
    fc
      .tuple(fc.integer({ min: 32, max: blockSize - 1 }), fc.nat(2000))
      .map(([size, from]) => ({ size, wholeFrom: from % 3 === 0 ? 0 : Math.min(from & ~3, size - 1) })),
    fc.integer({ min: 32, max: 3 * blockSize }).map((size) => ({ size, wholeFrom: undefined })),
  );

for (const makePlacer of [orderedPlacer, fillingPlacer])
  test(`${makePlacer.name}: units lie in slots, none over another, whole where they must be`, () => {
    const units = fc
      .constantFrom(512, 4096)
      .chain((blockSize) => fc.tuple(fc.constant(blockSize), fc.array(unit(blockSize))));
    fc.assert(
      fc.property(units, ([blockSize, all]) => {
        const placer = makePlacer(32, blockSize);
        const spans = all.map((one) => {
          const at = placer.place(one);
          assert.equal(at % 32, 0);
          if (one.wholeFrom !== undefined)
            assert.equal(Math.floor((at + one.wholeFrom) / blockSize), Math.floor((at + one.size - 1) / blockSize));
          return [at, at + one.size] as const;
        });
        spans.sort(([a], [b]) => a - b);
        let end = 32;
        for (const [from, to] of spans) {
          assert.ok(from >= end);
          end = to;
        }
        assert.equal(placer.end, end);
      }),
    );
  });

test("tails behind the inodes leave little room unused", async () => {
  const root = directory(attributes(0o755));
  for (let i = 0; i < 3000; i++)
    root.entries.set(
      fromUtf8(`file ${i}`),
      regularFile(attributes(0o644), bytesSource(patternBytes((Math.imul(i, 2654435761) >>> 9) % 4096, i))),
    );
  const sink = memorySink();
  await writeErofs(root, sink, { tails: "inline" });
  const { space } = await dumpSpace(await openErofs(bytesSource(sink.bytes())));
  const free = space.find(({ kind }) => kind === "free")?.bytes ?? 0;
  assert.ok(free < sink.bytes().length * 0.03, `${free} of ${sink.bytes().length} bytes are free`);
});
