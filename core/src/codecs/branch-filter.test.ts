import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BranchFilter, filterBranches, unfilterBranches } from "./index.ts";

/** Bytes that filters look at are many, so that instructions overlap and end where the bytes do. */
const codeArbitrary = fc
  .array(
    fc.oneof(
      fc.constantFrom(0xe8, 0xe9, 0x48, 0x4c, 0x8d, 0x8b, 0x89, 0x05, 0x3d, 0x00, 0xff, 0x94, 0x97),
      fc.integer({ min: 0, max: 255 }),
    ),
    { maxLength: 400 },
  )
  .map((bytes) => Uint8Array.from(bytes));

for (const filter of ["amd64", "arm64"] satisfies BranchFilter[])
  test(`${filter}: what was filtered comes back, whatever it is`, () => {
    fc.assert(
      fc.property(codeArbitrary, (bytes) => {
        const filtered = Uint8Array.from(bytes);
        filterBranches(filtered, filter);
        unfilterBranches(filtered, filter);
        assert.deepEqual(filtered, bytes);
        unfilterBranches(filtered, filter); // any bytes may arrive, and are what some others become
        filterBranches(filtered, filter);
        assert.deepEqual(filtered, bytes);
      }),
      { numRuns: 5000 },
    );
  });

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("amd64: places count from the start, distances from the end of the instruction", () => {
  for (const [before, after] of [
    ["90e8fbffffff", "90e801000000"], // call to itself, at 1
    ["e800000000e800000000", "e800000000e800000000"], // for the linker to fill in
    ["e9fbffffff", "e905000000"], // to place 0, which stands for 0 itself
    ["488d0510000000", "488d0517000000"], // lea rax, [rip + 16]
    ["4c8b3df9ffff01", "4c8b3df9ffff01"], // 32 MiB away
    ["488d4510000000", "488d4510000000"], // lea rax, [rbp + 16]
    ["e8e8000000", "e8ed000000"],
    ["e8e801001200", "e8e801001200"], // a highest byte that was looked at stays
  ] as const) {
    const bytes = Uint8Array.from(Buffer.from(before, "hex"));
    filterBranches(bytes, "amd64");
    assert.equal(hex(bytes), after, before);
  }
});

test("arm64: places and distances are in words", () => {
  for (const [before, after] of [
    ["1f2003d5ffffff97", "1f2003d501000094"], // nop; bl to the instruction before, which is place 0: 1 stands for it
    ["0000009400000094", "0000009400000094"], // for the linker to fill in
    ["1f2003d502000094", "1f2003d503000094"], // two on
    ["1f2003d502000014", "1f2003d502000014"], // a branch without link
  ] as const) {
    const bytes = Uint8Array.from(Buffer.from(before, "hex"));
    filterBranches(bytes, "arm64");
    assert.equal(hex(bytes), after, before);
  }
});
