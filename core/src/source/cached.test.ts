import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { cachedSource } from "./cached.ts";
import { bytesSource, type Source } from "./source.ts";
import { finish, readSteps } from "./steps.ts";

const BYTES = new Uint8Array(1000).map((_, i) => i * 7);

/** Fills at once, by a promise, or not at all; `failures` reads fail first. */
function scripted(kind: "at once" | "later" | "never", failures = 0): Source {
  let left = failures;
  const maybeFail = (): void => {
    if (left-- > 0) throw new Error("a bad day");
  };
  return {
    size: BYTES.length,
    async read(offset, length) {
      maybeFail();
      return BYTES.slice(offset, offset + length);
    },
    ...(kind === "never"
      ? {}
      : {
          readInto(offset: number, target: Uint8Array) {
            maybeFail();
            target.set(BYTES.subarray(offset, offset + target.length));
            return kind === "later" ? Promise.resolve() : undefined;
          },
        }),
  };
}

test("what is read at once, later or through steps is the same", async () => {
  const range = fc
    .tuple(fc.nat(BYTES.length), fc.nat(200))
    .map(([at, length]) => [at, Math.min(length, BYTES.length - at)]);
  const kind = fc.constantFrom("at once" as const, "later" as const, "never" as const);
  await fc.assert(
    fc.asyncProperty(kind, fc.array(range, { maxLength: 20 }), async (kind, ranges) => {
      const source = cachedSource(scripted(kind), { blockSize: 64, maxBytes: 256 });
      for (const [at = 0, length = 0] of ranges) {
        const wanted = BYTES.slice(at, at + length);
        const now = source.readNow?.(at, length);
        if (now !== undefined) assert.deepEqual(new Uint8Array(now), wanted);
        if (kind === "at once" && length > 0 && length <= 64) assert.ok(now !== undefined);
        if (kind === "never") assert.equal(now, undefined);
        assert.deepEqual(new Uint8Array(await finish(readSteps(source, at, length))), wanted);
        assert.deepEqual(new Uint8Array(await source.read(at, length)), wanted);
      }
    }),
  );
});

test("a failure is thrown and not remembered", async () => {
  const atOnce = cachedSource(scripted("at once", 1), { blockSize: 64, maxBytes: 256 });
  assert.throws(() => atOnce.readNow?.(0, 10), /a bad day/);
  assert.deepEqual(atOnce.readNow?.(0, 10), BYTES.slice(0, 10));
  const later = cachedSource(scripted("later", 1), { blockSize: 64, maxBytes: 256 });
  await assert.rejects(later.read(0, 10), /a bad day/);
  assert.deepEqual(await later.read(0, 10), BYTES.slice(0, 10));
});

test("nothing is at hand past the end", () => {
  const source = cachedSource(bytesSource(BYTES), { blockSize: 64, maxBytes: 256 });
  assert.throws(() => source.readNow?.(990, 20), { code: "out-of-range" });
});
