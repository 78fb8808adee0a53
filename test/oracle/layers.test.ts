// What layers mean, with a tar writer that writes anything, against `umoci unpack` as root: the same layout, the same tree.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";

import { type Listing, listDirectory } from "../support/listing.ts";
import { writeLayout } from "../support/oci.ts";
import { requireOracle, requireRoot } from "../support/oracle.ts";
import { opaque, type TarEntry, tarBytes, whiteout } from "../support/tar.ts";
import { type Comparison, compare, flattenLayout } from "./unpacked.ts";

const file = (name: string, content = name, more: Partial<TarEntry> = {}): TarEntry => ({ name, content, ...more });
const link = (name: string, target: string): TarEntry => ({
  name,
  type: "link",
  target,
  mode: 0o600,
  uid: 7,
  mtime: 5,
});
const symlink = (name: string, target: string): TarEntry => ({ name, type: "symlink", target });
const directory = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({ name: `${name}/`, ...more });

interface LayerCase extends Comparison {
  readonly name: string;
  readonly layers: readonly (readonly TarEntry[])[];
  /** Paths that must be there and paths that must not. */
  readonly there?: readonly string[];
  readonly gone?: readonly string[];
}

const NOW = "umoci gives a directory that no layer describes the time of unpacking";
const REMOVED_LATER = "umoci removes from the directory after it has set its time";
const CASES: readonly LayerCase[] = [
  {
    name: "a whiteout removes a file, a directory and a link",
    layers: [
      [file("a"), directory("d"), file("d/x"), symlink("s", "d"), file("keep")],
      [whiteout("a"), whiteout("d"), whiteout("s"), whiteout("absent")],
    ],
    there: ["keep"],
    gone: ["a", "d", "d/x", "s"],
  },
  {
    name: "a whiteout before or after a new file of its name",
    layers: [
      [file("a", "old"), file("b", "old"), directory("d"), file("d/old"), directory("e"), file("e/old")],
      [
        whiteout("a"),
        file("a", "new"),
        file("b", "new"),
        whiteout("b"),
        whiteout("d"),
        directory("d"),
        file("d/new"),
        directory("e", { mode: 0o700 }),
        file("e/new"),
        whiteout("e"),
      ],
    ],
    there: ["a", "b", "d/new", "e/new"],
    gone: ["d/old", "e/old"],
    differs: { "e: mtime": REMOVED_LATER },
  },
  {
    name: "an opaque directory, first, in the middle and last",
    layers: [
      ["p", "q", "r"].flatMap((name) => [
        directory(name),
        file(`${name}/old`),
        directory(`${name}/sub`),
        file(`${name}/sub/x`),
      ]),
      [
        ...opaque("p"),
        file("p/new"),
        directory("q"),
        file("q/new"),
        file("q/.wh..wh..opq", ""),
        file("q/last"),
        directory("r"),
        directory("r/sub"),
        file("r/sub/new"),
        file("r/.wh..wh..opq", ""),
      ],
    ],
    there: ["p/new", "q/new", "q/last", "r/sub/new"],
    gone: ["p/old", "p/sub", "q/old", "r/old", "r/sub/x"],
    differs: { "r/sub: mtime": REMOVED_LATER },
  },
  {
    name: "an opaque root",
    layers: [
      [file("a"), directory("d"), file("d/b")],
      [file(".wh..wh..opq", ""), file("c")],
    ],
    there: ["c"],
    gone: ["a", "d"],
  },
  {
    name: "hard links within and across layers keep their content and attributes",
    layers: [
      [file("a", "content", { mode: 0o751, uid: 3, mtime: 1000 }), link("b", "a"), link("c", "./b")],
      [link("d", "a"), link("e", "c")],
      [whiteout("a"), whiteout("b"), file("c", "other")],
      [link("f", "d")],
    ],
    there: ["c", "d", "e", "f"],
    gone: ["a", "b"],
  },
  {
    name: "a hard link to what the same layer then removes",
    layers: [
      [file("a"), directory("d"), file("d/x")],
      [link("b", "a"), link("y", "d/x"), whiteout("a"), whiteout("d")],
    ],
    there: ["b", "y"],
    gone: ["a", "d"],
  },
  {
    name: "files become directories and back",
    layers: [
      [file("a"), directory("b"), file("b/x"), symlink("c", "b"), directory("e"), file("e/x")],
      [directory("a"), file("a/x"), file("b"), directory("c"), file("c/y"), symlink("e", "c")],
      [file("a"), directory("b"), file("b/z")],
    ],
    there: ["a", "b/z", "c/y", "e"],
    gone: ["a/x", "b/x", "e/x"],
  },
  {
    name: "a directory over a directory keeps the children and takes the attributes",
    layers: [
      [directory("d", { mode: 0o700, uid: 1, xattrs: { "user.old": "1" } }), file("d/x")],
      [directory("d", { mode: 0o755, gid: 2, mtime: 77, xattrs: { "user.new": "2" } })],
    ],
    there: ["d/x"],
  },
  {
    name: "missing parents",
    layers: [
      [file("a/b/c"), directory("d")],
      [file("d/x"), file("a/b/e")],
    ],
    there: ["a/b/c", "d/x"],
    differs: { "a: mtime": NOW, "a/b: mtime": NOW, ": mtime": `${NOW}, and its parent too` },
  },
  {
    name: "the last of equal names wins, and a link between keeps the first",
    layers: [[file("a", "one"), link("b", "a"), file("a", "two"), symlink("s", "x"), file("s", "file")]],
    there: ["a", "b", "s"],
  },
  {
    name: "leading ./, trailing slashes, the root itself",
    layers: [
      [
        directory(".", { mode: 0o711, uid: 5, gid: 6, mtime: 99, xattrs: { "user.root": "x" } }),
        file("./a"),
        directory("./d//"),
        file("d/./x"),
      ],
    ],
    there: ["a", "d/x"],
  },
  {
    name: "entries below symbolic links stay inside",
    layers: [
      [
        directory("real"),
        symlink("rel", "real"),
        symlink("abs", "/real"),
        directory("x"),
        symlink("x/up", "../real"),
        symlink("two", "rel"),
      ],
      [file("rel/a"), file("abs/b"), file("x/up/c"), file("two/d"), link("l", "rel/a")],
      [whiteout("rel/a"), file("abs/.wh..wh..opq", ""), file("real/e")],
    ],
    there: ["real/e", "l"],
    gone: ["real/a", "real/b", "real/c"],
  },
  {
    name: "an opaque directory in the place of a link leaves alone where the link led",
    layers: [
      [directory("real"), file("real/x"), symlink("d", "real")],
      [...opaque("d"), file("d/y")],
    ],
    there: ["real/x", "d/y"],
  },
  {
    name: "names of AUFS and whiteouts of any type",
    layers: [
      [file("a"), file("b")],
      [file(".wh..wh.aufs", ""), { name: ".wh.a", type: "symlink", target: "x" }, { name: ".wh.b/" }],
    ],
    gone: ["a", "b", ".wh..wh.aufs"],
  },
  {
    name: "xattrs of the building host",
    layers: [
      [
        file("a", "", {
          xattrs: {
            "security.selinux": "system_u:object_r:container_file_t:s0",
            "trusted.overlay.origin": "x",
            "user.kept": "1",
          },
        }),
        directory("d", { xattrs: { "trusted.overlay.opaque": "y" } }),
      ],
    ],
  },
  {
    name: "devices, set-id bits and times",
    layers: [
      [
        { name: "null", type: "character", device: [1, 3], mode: 0o666 },
        { name: "disk", type: "block", device: [8, 17], mode: 0o660, gid: 6 },
        { name: "pipe", type: "fifo", mode: 0o600 },
        file("su", "", { mode: 0o4755 }),
        directory("tmp", { mode: 0o1777 }),
        file("ns", "", { mtime: 1_700_000_000.5, pax: { mtime: "1700000000.123456789" } }),
        file("cut", "", { pax: { mtime: "1700000000.1234567899" } }),
        file("old", "", { pax: { mtime: "-1.25" } }),
      ],
    ],
  },
];

for (const { name, layers, there = [], gone = [], ...comparison } of CASES)
  test(`layers: ${name}`, async (t) => {
    const listing = await compare(
      t,
      layers.map((entries) => ({ tar: tarBytes(entries) })),
      comparison,
    );
    if (listing.size === 0) return;
    for (const path of there) assert.ok(listing.has(path), `${path} is there`);
    for (const path of gone) assert.ok(!listing.has(path), `${path} is gone`);
  });

// Random layers. Whiteouts come first in each, since to umoci their place matters; links have names of their own, so
// that none is replaced by a directory below which the same layer has whiteouts.
const DIRECTORIES = ["a", "b", "a/b", "b/a", "a/b/a"];
const FILES = DIRECTORIES.flatMap((parent) => ["x", "y", "a"].map((name) => `${parent}/${name}`)).concat("x", "y");
const anyPath = fc.constantFrom(...DIRECTORIES, ...FILES);
const randomEntry = fc.oneof(
  fc.tuple(anyPath, fc.nat(9)).map(([path, uid]) => file(path, `${path} ${uid}`, { uid })),
  fc.tuple(fc.constantFrom(...DIRECTORIES), fc.nat(9)).map(([path, uid]) => directory(path, { uid })),
  fc
    .tuple(fc.constantFrom("s", "t"), fc.constantFrom("a", "/b", "a/b", "b/../a", "x", "s"))
    .map(([a, b]) => symlink(a, b)),
  fc.tuple(anyPath, anyPath).map(([path, target]) => link(path, target)),
  fc.tuple(fc.constantFrom("s", "t"), fc.constantFrom("x", "n")).map(([a, b]) => file(`${a}/${b}`)),
);
const randomWhiteout = fc.oneof(
  anyPath.map(whiteout),
  fc.constantFrom("s", "t").map(whiteout),
  fc.constantFrom(...DIRECTORIES).map((path) => file(`${path}/.wh..wh..opq`, "")),
);
const randomLayer = fc
  .tuple(fc.array(randomWhiteout, { maxLength: 2 }), fc.array(randomEntry, { minLength: 1, maxLength: 7 }))
  .map(([whiteouts, entries]) => [...whiteouts, ...entries]);

test("layers: random ones", async (t) => {
  const umoci = requireOracle(t, "umoci");
  if (umoci === undefined || !requireRoot(t)) return;
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(randomLayer, { minLength: 1, maxLength: 4 }), async (layers) => {
      const work = mkdtempSync(join(tmpdir(), "ashlar-random-"));
      try {
        await writeLayout(join(work, "layout"), { layers: layers.map((entries) => ({ tar: tarBytes(entries) })) });
        const { status } = await umoci.run([
          "unpack",
          "--image",
          `${join(work, "layout")}:latest`,
          join(work, "bundle"),
        ]);
        if (status !== 0) return; // links to nothing and files as parents, mostly: image.test.ts says what we do
        const shape = (listing: Listing) =>
          [...listing].map(([path, { type, inode, target, content }]) =>
            [path, type, inode, target, content].join(" "),
          );
        const expected = shape(listDirectory(join(work, "bundle/rootfs")));
        assert.deepEqual(shape(await flattenLayout(join(work, "layout"), work)), expected);
        compared++;
      } finally {
        rmSync(work, { recursive: true });
      }
    }),
    { numRuns: Number(process.env["ASHLAR_RUNS"] ?? 100), seed: Number(process.env["ASHLAR_SEED"] ?? 1) },
  );
  assert.ok(compared > 10, `${compared} compared`);
  t.diagnostic(`${compared} compared`);
});
