// The order of versions against systemd's own.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareVersions } from "../../core/src/ops/release/index.ts";
import { requireOracle } from "../support/oracle.ts";

test("systemd-analyze compare-versions agrees", async (t) => {
  const analyze = requireOracle(t, "systemd-analyze");
  if (analyze === undefined) return;
  const tail = fc.string({ unit: fc.constantFrom(..."0129aAzZ~-^._"), maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("1", "a", "01"),
      tail,
      fc.constantFrom("1", "a", "01"),
      tail,
      async (x, a, y, b) => {
        const { status, stdout, stderr } = await analyze.run(["compare-versions", x + a, y + b]);
        assert.ok([0, 11, 12].includes(status ?? -1), stderr); // equal, newer, older
        const sign = / < /.test(stdout) ? -1 : / > /.test(stdout) ? 1 : 0;
        assert.equal(Math.sign(compareVersions(x + a, y + b)), sign, stdout);
      },
    ),
    { numRuns: 60 },
  );
});
