import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { bytesSource, piecewiseSource, type Source } from "./source.ts";

/** In memory, filling the caller's buffer, at once or later. */
function fillingSource(bytes: Uint8Array, isLate: boolean): Source {
  return {
    ...bytesSource(bytes),
    readInto(offset, target) {
      target.set(bytes.subarray(offset, offset + target.length));
      return isLate ? Promise.resolve() : undefined;
    },
  };
}

const piece = fc.record({
  gap: fc.integer({ min: 0, max: 9 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
  kind: fc.constantFrom("plain", "filling", "late"),
});

test("a piecewise source reads and fills the same bytes, zeros between the pieces", async () => {
  const scene = fc.record({ pieces: fc.array(piece, { maxLength: 6 }), end: fc.nat(9), from: fc.nat(), to: fc.nat() });
  await fc.assert(
    fc.asyncProperty(scene, async ({ pieces, end, from, to }) => {
      const whole: number[] = [];
      const placed = pieces.map(({ gap, bytes, kind }) => {
        whole.push(...new Uint8Array(gap));
        const at = whole.length;
        whole.push(...bytes);
        return { at, source: kind === "plain" ? bytesSource(bytes) : fillingSource(bytes, kind === "late") };
      });
      whole.push(...new Uint8Array(end));
      const source = piecewiseSource(whole.length, placed);
      const start = from % (whole.length + 1);
      const size = to % (whole.length - start + 1);
      const expected = Uint8Array.from(whole.slice(start, start + size));
      assert.deepEqual(await source.read(start, size), expected);
      assert.equal(
        source.readInto === undefined,
        placed.every(({ source }) => source.readInto === undefined),
      );
      const target = new Uint8Array(size).fill(0xee);
      await source.readInto?.(start, target);
      if (source.readInto !== undefined) assert.deepEqual(target, expected);
    }),
  );
});

test("a piecewise source refuses what lies past its end", async () => {
  const source = piecewiseSource(4, [{ at: 1, source: fillingSource(Uint8Array.of(1), false) }]);
  await assert.rejects(source.read(2, 3), { code: "out-of-range" });
  await assert.rejects(async () => source.readInto?.(2, new Uint8Array(3)), { code: "out-of-range" });
});
