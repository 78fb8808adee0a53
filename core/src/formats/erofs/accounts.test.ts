import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Accounts, type Claim, type Overlap, SPACE_KINDS, type SpaceRun } from "./accounts.ts";

function settle(accounts: Accounts, size: number): { runs: SpaceRun[]; overlaps: Overlap[] } {
  const overlaps: Overlap[] = [];
  const runs = [...accounts.settle(size, 512, (overlap) => overlaps.push(overlap))];
  return { runs, overlaps };
}

const shown = ({ start, size, kind, nid, claims }: SpaceRun) => [start, size, kind, nid, claims];

test("claims, slack behind data, and what is free", () => {
  const accounts = new Accounts();
  accounts.claim("superblock", 1024, 128);
  accounts.claim("file data", 2048, 700, 5);
  accounts.claim("inodes", 4096, 32, 5);
  const { runs, overlaps } = settle(accounts, 5120);
  assert.deepEqual(overlaps, []);
  assert.deepEqual(runs.map(shown), [
    [0, 1024, "free", undefined, 0],
    [1024, 128, "superblock", undefined, 1],
    [1152, 896, "free", undefined, 0],
    [2048, 700, "file data", 5, 1],
    [2748, 324, "slack", 5, 0],
    [3072, 1024, "free", undefined, 0],
    [4096, 32, "inodes", 5, 1],
    [4128, 992, "free", undefined, 0],
  ]);
});

test("whole shared data is legitimate, parts of it and other things are not; chunks may share what they like", () => {
  const shared = new Accounts();
  for (const nid of [1, 2, 3]) shared.claim("file data", 512, 1000, nid);
  assert.deepEqual(settle(shared, 1512), {
    overlaps: [],
    runs: [
      { start: 0, size: 512, kind: "free", nid: undefined, claims: 0 },
      { start: 512, size: 1000, kind: "file data", nid: 1, claims: 3 },
    ],
  });

  const cases: readonly (readonly [Claim["kind"], number, number])[] = [
    ["file data", 512, 600],
    ["file data", 1024, 600],
    ["inodes", 512, 1000],
    ["inodes", 600, 32],
  ];
  for (const [kind, start, size] of cases) {
    const accounts = new Accounts();
    accounts.claim("file data", 512, 1000, 1);
    accounts.claim(kind, start, size, 2);
    const { overlaps } = settle(accounts, 4096);
    assert.deepEqual(
      overlaps.map(({ first, second }) => [first.nid, second.nid].sort()),
      [[1, 2]],
      `${kind} at ${start}`,
    );
  }

  const chunks = new Accounts();
  chunks.claim("chunk data", 512, 1024, 1);
  chunks.claim("chunk data", 1024, 1024, 2);
  assert.deepEqual(settle(chunks, 2048).overlaps, []);
});

test("clusters that several share come once for each thing that is said of them", () => {
  const accounts = new Accounts();
  accounts.claim("file data", 0, 512, 9);
  for (const [nid, size, isPartial] of [
    [1, 900, true],
    [2, 5000, false],
    [3, 2000, true],
    [4, 5000, false],
    [5, 6000, false],
  ] as const)
    accounts.claim("compressed data", 512, 512, nid, { encoding: "zstd", size, isPartial });
  accounts.claim("compressed data", 600, 100, 6, { encoding: "lz4", size: 700, isPartial: false }); // inside of the others
  assert.deepEqual(
    [...accounts.clusters()].map(({ start, nid, cluster }) => [start, nid, cluster.encoding, cluster.size]),
    [
      [512, 5, "zstd", 6000],
      [512, 2, "zstd", 5000],
      [512, 3, "zstd", 2000],
      [600, 6, "lz4", 700],
    ],
  );
  const { runs } = settle(accounts, 1024);
  assert.deepEqual(
    runs.map(({ start, size, claims }) => [start, size, claims]),
    [
      [0, 512, 1],
      [512, 512, 5],
    ],
  );
});

test("any claims: the runs tile the image, and overlaps are found where bytes have two owners", () => {
  const claim = fc.record({
    kind: fc.constantFrom(...SPACE_KINDS.slice(0, -3)),
    start: fc.nat(4000),
    size: fc.nat(600),
    nid: fc.option(fc.nat(5), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 12 }), fc.integer({ min: 1, max: 5000 }), (claims, size) => {
      const accounts = new Accounts();
      for (const { kind, start, size: bytes, nid } of claims) accounts.claim(kind, start, bytes, nid);
      const { runs, overlaps } = settle(accounts, size);
      let end = 0;
      for (const run of runs) {
        assert.equal(run.start, end);
        assert.ok(run.size > 0);
        end += run.size;
      }
      assert.equal(end, size);
      const isDisjoint = claims.every((a, i) =>
        claims.every(
          (b, j) => j <= i || a.start + a.size <= b.start || b.start + b.size <= a.start || a.size * b.size === 0,
        ),
      );
      if (isDisjoint) assert.deepEqual(overlaps, []);
    }),
  );
});
