import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareVersions } from "./compare-versions.ts";

/** The example of UAPI.10, oldest first, and more of our own. */
const ASCENDING = [
  "122.1",
  "123~rc1-1",
  "123",
  "123-a",
  "123-a.1",
  "123-1",
  "123-1.1",
  "123^post1",
  "123.a-1",
  "123.1-1",
];

test("versions in the order of the specification", () => {
  for (const [i, a] of ASCENDING.entries())
    for (const [j, b] of ASCENDING.entries())
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} and ${b}`);
  for (const [a, b] of [
    ["1.0", "1.00"],
    ["1_.0", "_1.0"],
    ["", "_"],
  ] as const)
    assert.equal(compareVersions(a, b), 0, `${a} and ${b}`);
  assert.ok(compareVersions("1.0~rc.1", "1.0") < 0);
  assert.ok(compareVersions("99999999999999999999998", "99999999999999999999999") < 0);
});

test("it is an order", () => {
  const version = fc.string({ unit: fc.constantFrom(..."0129aAzZ~-^._"), maxLength: 12 });
  fc.assert(
    fc.property(version, version, version, (a, b, c) => {
      assert.equal(compareVersions(a, a), 0);
      assert.equal(Math.sign(compareVersions(a, b)), 0 - Math.sign(compareVersions(b, a)));
      if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) assert.ok(compareVersions(a, c) <= 0);
    }),
    { numRuns: 2000 },
  );
});
