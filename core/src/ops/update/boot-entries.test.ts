import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chosenEntry, compareEntries, formatEntryName, type OrderedEntry, parseEntryName } from "./index.ts";

test("names of entries and their counters", () => {
  const cases: readonly (readonly [string, string, (readonly [number, number])?])[] = [
    ["os_1.efi", "os_1"],
    ["os_1+3.efi", "os_1", [3, 0]],
    ["os_1+2-1.EFI", "os_1", [2, 1]],
    ["os_1+0-3.efi", "os_1", [0, 3]],
    ["a+b+1.efi", "a+b", [1, 0]],
    ["os+x.efi", "os+x"],
    ["os+1-.efi", "os+1-"],
    ["os+1-2-3.efi", "os+1-2-3"],
    ["os+2147483648.efi", "os+2147483648"],
    ["+3.efi", "", [3, 0]],
  ];
  for (const [name, stem, counter] of cases)
    assert.deepEqual(parseEntryName(name), {
      stem,
      counter: counter === undefined ? undefined : { left: counter[0], done: counter[1] },
    });
  for (const name of ["os.conf", "os.efi.tmp", ".os.efi", "os", ""]) assert.equal(parseEntryName(name), undefined);
});

test("a name that was formatted is parsed to the same", () => {
  const pair = fc.tuple(fc.nat(), fc.nat()).map(([left, done]) => ({ left, done }));
  const counter = fc.option(pair, { nil: undefined });
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9_.-]{1,20}$/), counter, (stem, count) => {
      if (stem.startsWith(".")) return;
      assert.deepEqual(parseEntryName(formatEntryName({ stem, counter: count })), { stem, counter: count });
    }),
  );
});

/** An entry of `NAME_VERSION` with a counter such as `+2-1`. */
function entry(name: string, { sortKey = "os", version = /_([^+]*)/.exec(name)?.[1] ?? "" } = {}): OrderedEntry {
  return { name, counter: parseEntryName(name)!.counter, sortKey, version };
}

test("systemd-boot's order", () => {
  const first = (...names: (string | OrderedEntry)[]) =>
    chosenEntry(names.map((one) => (typeof one === "string" ? entry(`${one}.efi`) : one)))?.name.replace(".efi", "");
  assert.equal(first("os_1", "os_2"), "os_2");
  assert.equal(first("os_9", "os_10+3"), "os_10+3", "versions are numbers, and a counter takes no part in the order");
  assert.equal(first("os_1", "os_2+1-2"), "os_2+1-2", "as long as there is a try");
  assert.equal(first("os_1", "os_2+0-3"), "os_1", "bad comes last");
  assert.equal(first("os_1+0-3", "os_2+0"), "os_2+0", "of the bad ones the newest");
  assert.equal(first(entry("b_1.efi", { sortKey: "b" }), entry("a_1.efi", { sortKey: "a" })), "a_1", "by sort-key");
  assert.equal(first(entry("x_9.efi", { sortKey: "" }), "os_1"), "os_1", "what has no sort-key comes later");
  assert.equal(first(entry("x.efi", { version: "1~rc1" }), entry("y.efi", { version: "1" })), "y");
  const same = { version: "1" };
  assert.equal(first(entry("os_1.efi", same), entry("os_1.1+3.efi", same)), "os_1.1+3", "one version: by file name");
  assert.equal(chosenEntry([]), undefined);
});

test("the order is an order", () => {
  const any = fc.record({
    name: fc.constantFrom("os_1.efi", "os_1+3.efi", "os_1+2-1.efi", "os_2+0-3.efi", "os_2.efi", "os_2.1.efi"),
    sortKey: fc.constantFrom("", "a", "b"),
    version: fc.constantFrom("", "1", "2", "1.0", "1~rc1"),
  });
  const of = (fields: { name: string; sortKey: string; version: string }) => entry(fields.name, fields);
  fc.assert(
    fc.property(any, any, any, (x, y, z) => {
      const [a, b, c] = [of(x), of(y), of(z)];
      assert.equal(Math.sign(compareEntries(a, b)) + Math.sign(compareEntries(b, a)), 0);
      if (compareEntries(a, b) < 0 && compareEntries(b, c) < 0) assert.ok(compareEntries(a, c) < 0);
    }),
  );
});
