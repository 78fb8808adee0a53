import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Digest } from "../../hash/index.ts";
import { choosePacks, planRoot } from "./push-root.ts";

const packsOf = (...blocks: readonly number[]) => blocks.map((count) => ({ blocks: count }));

test("packs go on while half of what they hold is of use", () => {
  assert.deepEqual(choosePacks(packsOf(100, 10), [90, 10], true), [0, 1]);
  assert.deepEqual(choosePacks(packsOf(100, 10), [90, 0], true), [0], "one that nothing is used of goes");
  assert.deepEqual(choosePacks(packsOf(100, 100), [50, 50], true), [0, 1]);
  assert.deepEqual(choosePacks(packsOf(100, 100), [50, 49], true), []);
  assert.deepEqual(choosePacks(packsOf(100), [0], true), []);
  assert.deepEqual(choosePacks([], [], true), []);
});

test("too many packs: those that most is used of stay, in their order", () => {
  const sizes = Array.from({ length: 64 }, (_, index) => (index === 0 ? 1000 : 10));
  const used = sizes.map((size, index) => (index % 2 === 0 ? size : size - 5));
  assert.equal(choosePacks(packsOf(...sizes), used, false).length, 64);
  const kept = choosePacks(packsOf(...sizes), used, true);
  assert.equal(kept.length, 32);
  assert.equal(kept[0], 0);
  assert.ok(kept.every((index) => index % 2 === 0));
});

const digest = (value: number): Uint8Array => new Uint8Array(32).fill(value);
const leavesOf = (values: readonly number[]): Uint8Array =>
  Uint8Array.from(values.flatMap((value) => [...digest(value)]));

test("every block gets a place that holds its digest, and none is packed twice", () => {
  const blockArbitrary = fc.array(fc.nat(12), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(blockArbitrary, fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 12 }), (blocks, there) => {
      const known = [there.slice(0, 4), there.slice(4)]
        .filter(({ length }) => length > 0)
        .map((values, index) => ({
          digest: `sha256:${`0${index}`.repeat(32)}` as Digest,
          size: 100,
          blocks: values.length,
          frameScale: index,
          filter: undefined,
          leaves: leavesOf(values),
        }));
      const { kept, runs, fresh } = planRoot(leavesOf(blocks), digest(0), known);
      const packs = [...kept.map(({ leaves }) => leaves), leavesOf(fresh.map((block) => blocks[block]!))];
      const placed: number[] = [];
      for (const { pack, first, count } of runs)
        for (let i = 0; i < count; i++) placed.push(pack === undefined ? 0 : packs[pack]![(first + i) * 32]!);
      assert.deepEqual(placed, blocks);
      assert.equal(new Set(fresh.map((block) => blocks[block])).size, fresh.length);
      assert.deepEqual(
        [...fresh].sort((a, b) => a - b),
        fresh,
      );
    }),
  );
});
