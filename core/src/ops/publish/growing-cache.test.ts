import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { equalBytes } from "../../bytes/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import { growingCache } from "./growing-cache.ts";

const BYTES = Uint8Array.from({ length: 10_007 }, (_, index) => (index * 31) >> 3);

function counted(): { source: Source; reads: number[] } {
  const reads: number[] = [];
  const inner = bytesSource(BYTES);
  const source: Source = {
    size: inner.size,
    read(offset, length) {
      reads.push(length);
      return inner.read(offset, length);
    },
  };
  return { source, reads };
}

test("reads give what the source has, in any order and with any capacity", async () => {
  const rangeArbitrary = fc.tuple(fc.nat(BYTES.length), fc.nat(3000));
  await fc.assert(
    fc.asyncProperty(
      fc.array(rangeArbitrary, { maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      async (ranges, capacity) => {
        const cache = growingCache(counted().source, { blockSize: 256, maxReach: 8, capacity });
        for (const [offset, most] of ranges) {
          const length = Math.min(most, BYTES.length - offset);
          assert.ok(equalBytes(await cache.read(offset, length), BYTES.subarray(offset, offset + length)));
        }
      },
    ),
  );
});

test("reads that go forward ask for twice as much each time, others for one block", async () => {
  const { source, reads } = counted();
  const cache = growingCache(source, { blockSize: 256, maxReach: 8, capacity: 100 });
  for (let at = 0; at < 256 * 16; at += 64) await cache.read(at, 64);
  assert.deepEqual(reads, [256, 512, 1024, 2048, 2048]);
  await cache.read(9000, 10);
  await cache.read(7000, 10);
  assert.deepEqual(reads.slice(5), [256, 256]);
});

test("a failure is not remembered", async () => {
  let fails = true;
  const inner = bytesSource(BYTES);
  const source: Source = {
    size: inner.size,
    read: async (...range) => {
      if (fails) throw new Error("gone");
      return inner.read(...range);
    },
  };
  const cache = growingCache(source, { blockSize: 256, maxReach: 8, capacity: 4 });
  await assert.rejects(cache.read(0, 10), /gone/);
  fails = false;
  assert.ok(equalBytes(await cache.read(0, 10), BYTES.subarray(0, 10)));
});
