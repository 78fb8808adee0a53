import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isAshlarError } from "../../errors/index.ts";
import { planEntryOrder } from "./entry-order.ts";
import { type BootCounter, chosenEntry, formatEntryName, parseEntryName } from "./index.ts";

const versions = fc.constantFrom("1", "2", "10", "2~rc1");
const products = fc.constantFrom("a", "os", "z");
const counters = fc.constantFrom<BootCounter | undefined>(
  undefined,
  { left: 0, done: 0 },
  { left: 0, done: 3 },
  { left: 2, done: 1 },
);

/** `rootHash` says whose the entry is: "r" runs, "n" is the new one. */
function entry(product: string, version: string, stem: string, counter: BootCounter | undefined, rootHash: string) {
  return { stem, counter, name: formatEntryName({ stem, counter }), sortKey: product, version, rootHash };
}

test("after the renames the wanted entry is started, and the running one when the tries of that are used", async () => {
  let arranged = 0;
  const scene = fc.record({
    wanted: fc.tuple(products, versions),
    running: fc.tuple(products, versions, fc.constantFrom<BootCounter | undefined>(undefined, { left: 0, done: 0 })),
    trial: fc.option(fc.tuple(counters), { nil: undefined }),
    foreign: fc.option(fc.tuple(products, versions, counters), { nil: undefined }),
  });
  fc.assert(
    fc.property(scene, ({ wanted: [product, version], running: [own, ownVersion, counter], trial, foreign }) => {
      const wanted = entry(product, version, `new_${version}`, { left: 3, done: 0 }, "n");
      const others = [entry(own, ownVersion, `own_${ownVersion}`, counter, "r")];
      if (trial !== undefined) others.push(entry(own, ownVersion, `own_${ownVersion}.1`, trial[0], "r"));
      if (foreign !== undefined) others.push(entry(foreign[0], foreign[1], "foreign", foreign[2], ""));
      let order: ReturnType<typeof planEntryOrder>;
      try {
        order = planEntryOrder(wanted, others, ({ rootHash }) => rootHash === "r");
      } catch (error) {
        assert.ok(isAshlarError(error) && error.code === "entry-order");
        assert.ok(foreign !== undefined || (trial?.[0]?.left === 0 && trial[0].done > 0), "refused without a reason");
        return;
      }
      arranged++;
      const names = new Map(others.map((one) => [one.name, one]));
      const started = () => chosenEntry([...names.values()])!;
      for (const [renames, last] of [
        [order.before, false],
        [order.after, true],
      ] as const) {
        if (last) names.set(wanted.name, wanted);
        for (const { from, to } of renames) {
          names.set(to, { ...names.get(from)!, ...parseEntryName(to)!, name: to });
          names.delete(from);
          assert.notEqual(started().rootHash, "", "a foreign entry is never started in between");
        }
      }
      assert.equal(started().name, wanted.name);
      names.delete(wanted.name);
      const exhausted = { ...wanted, counter: { left: 0, done: 3 }, name: `${wanted.stem}+0-3.efi` };
      names.set(exhausted.name, exhausted);
      assert.equal(started().rootHash, "r");
    }),
    { numRuns: 3000 },
  );
  assert.ok(arranged > 1000);
});
