// flatten() against `umoci unpack` as root: the same layout, the same tree. Differences that are meant are listed here
// and in core/src/ops/image/README.md, nowhere else.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";

import { nodeDecompressors } from "../../core/src/node/decompress.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { nodeFiles } from "../../core/src/node/host-files.ts";
import { fileScratch } from "../../core/src/node/scratch.ts";
import { flatten, openImage, parseReference } from "../../core/src/ops/image/index.ts";
import { type Listing, listDirectory, listTree } from "../support/listing.ts";
import { type LayerInput, writeLayout } from "../support/oci.ts";
import { requireOracle } from "../support/oracle.ts";
import { opaque, type TarEntry, tarBytes, whiteout } from "../support/tar.ts";

interface Comparison {
  /** umoci cannot read old GNU sparse files; then GNU tar is the oracle. */
  readonly oracle?: "umoci" | "tar";
  /** `path: property` that umoci is known to give otherwise, each with the reason. */
  readonly differs?: Readonly<Record<string, string>>;
}

async function compare(
  t: TestContext,
  layers: readonly LayerInput[],
  { differs = {}, oracle = "umoci" }: Comparison = {},
): Promise<Listing> {
  const unpacker = requireOracle(t, oracle);
  if (unpacker === undefined) return new Map();
  if (process.getuid?.() !== 0) {
    if (process.env["CI"]) throw new Error("unpacking needs root");
    t.skip("unpacking needs root");
    return new Map();
  }
  const work = mkdtempSync(join(tmpdir(), "ashlar-layers-"));
  try {
    await writeLayout(join(work, "layout"), { layers });
    const rootfs = join(work, "bundle/rootfs");
    if (oracle === "umoci")
      await unpacker.ok(["unpack", "--image", `${join(work, "layout")}:latest`, join(work, "bundle")]);
    else {
      mkdirSync(rootfs, { recursive: true });
      for (const { tar } of layers)
        await unpacker.ok(["-xpf", "-", "--numeric-owner", "-C", rootfs], {
          input: typeof tar === "string" ? readFileSync(tar) : tar,
        });
    }
    const expected = listDirectory(rootfs);
    const ours = await flattenLayout(join(work, "layout"), work);
    const seen = new Set<string>();
    for (const [path, properties] of [...expected])
      for (const property of Object.keys(properties)) {
        const key = `${path}: ${property}`;
        if (differs[key] === undefined || ours.get(path)?.[property] === properties[property]) continue;
        properties[property] = ours.get(path)?.[property] ?? "";
        seen.add(key);
      }
    assert.deepEqual(Object.fromEntries(ours), Object.fromEntries(expected));
    assert.deepEqual(seen, new Set(Object.keys(differs)), "listed differences are there");
    return ours;
  } finally {
    rmSync(work, { recursive: true });
  }
}

async function flattenLayout(directory: string, work: string): Promise<Listing> {
  const image = await openImage(parseReference(`oci:${directory}`), { hashes: nodeHashes, files: nodeFiles });
  const environment = { hashes: nodeHashes, scratch: fileScratch(work), decompressors: nodeDecompressors };
  const flat = await flatten(image, environment);
  try {
    return await listTree(flat.root);
  } finally {
    await flat.dispose();
    await image.close();
  }
}

/** What `tar` of GNU makes of a directory. */
function gnuTar(directory: string, options: readonly string[]): Uint8Array {
  const { status, stdout, stderr } = spawnSync("tar", [...options, "-C", directory, "-cf", "-", "."], {
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}

interface Sample {
  /** Paths past 100 bytes, in two parts that ustar can and one that it cannot hold. */
  readonly names: "short" | "split" | "long";
  readonly devices: boolean;
  /** Owners and times that octal fields cannot hold. */
  readonly bigNumbers: boolean;
  readonly fractions: boolean;
}

function makeSample(root: string, sample: Sample): void {
  const at = (path: string) => join(root, path);
  mkdirSync(at("usr/bin"), { recursive: true });
  mkdirSync(at("tmp"));
  chmodSync(at("tmp"), 0o1777);
  writeFileSync(at("usr/bin/su"), "set-id\n");
  run("chown", "12:34", at("usr/bin/su"));
  chmodSync(at("usr/bin/su"), 0o6755);
  writeFileSync(at("empty"), "");
  writeFileSync(at("block"), new Uint8Array(512).fill(1));
  writeFileSync(
    at("large"),
    new Uint8Array(3_000_001).map((_, i) => i % 251),
  );
  linkSync(at("large"), at("usr/hardlink"));
  symlinkSync("../../nowhere", at("usr/dangling"));
  symlinkSync("bin/su", at("usr/link"));
  linkSync(at("usr/link"), at("usr/link-of-link")); // a hard link to a symbolic link
  writeFileSync(Buffer.from([...Buffer.from(`${root}/latin-`), 0xe9, 0xff]), "not UTF-8");
  writeFileSync(at("back\\slash and space"), "");
  if (sample.names !== "short") {
    const deep = `${"d".repeat(70)}/${"e".repeat(70)}`;
    mkdirSync(at(deep), { recursive: true });
    writeFileSync(at(`${deep}/${"f".repeat(90)}`), "deep");
  }
  if (sample.names === "long") {
    linkSync(at(`${"d".repeat(70)}/${"e".repeat(70)}/${"f".repeat(90)}`), at("to-deep"));
    writeFileSync(at("g".repeat(255)), "wide");
    symlinkSync("h/".repeat(150), at("long-target"));
    linkSync(at("g".repeat(255)), at("to-wide"));
  }
  if (sample.devices) {
    run("mknod", at("null"), "c", "1", "3");
    run("mknod", at("big"), "b", "259", "65537");
    run("mkfifo", at("fifo"));
  }
  if (sample.bigNumbers) {
    writeFileSync(at("owner"), "");
    run("chown", "-h", "4000000000:2097152", at("owner"));
    writeFileSync(at("before"), "");
    run("touch", "-d", "1960-02-03 04:05:06Z", at("before"));
    writeFileSync(at("after"), "");
    run("touch", "-d", "2200-01-01 00:00:00Z", at("after"));
  }
  if (sample.fractions) {
    writeFileSync(at("fraction"), "");
    run("touch", "-d", "2020-01-02 03:04:05.123456789Z", at("fraction"));
    writeFileSync(at("before-fraction"), "");
    run("touch", "-d", "1960-01-02 03:04:05.250000000Z", at("before-fraction"));
  }
  lutimesSync(at("usr/dangling"), 1_500_000_000, 1_500_000_000);
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ashlar-sample-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const FORMATS: readonly (readonly [format: string, sample: Sample])[] = [
  ["v7", { names: "short", devices: false, bigNumbers: false, fractions: false }],
  ["ustar", { names: "split", devices: true, bigNumbers: false, fractions: false }],
  ["oldgnu", { names: "long", devices: true, bigNumbers: true, fractions: false }],
  ["gnu", { names: "long", devices: true, bigNumbers: true, fractions: false }],
  ["posix", { names: "long", devices: true, bigNumbers: true, fractions: true }],
];

for (const [format, sample] of FORMATS)
  test(`GNU tar ${format}: the tree that umoci unpacks`, async (t) => {
    await withDirectory(async (directory) => {
      makeSample(directory, sample);
      const tar = gnuTar(directory, [`--format=${format}`, "--sort=name"]);
      const listing = await compare(t, [{ tar }]);
      if (listing.size > 0) assert.ok(listing.size >= 12);
    });
  });

for (const compression of ["none", "gzip"] as const)
  test(`bsdtar, layer compression ${compression}`, async (t) => {
    if (spawnSync("bsdtar", ["--version"]).status !== 0) return t.skip("bsdtar is not there");
    await withDirectory(async (directory) => {
      makeSample(directory, { names: "long", devices: true, bigNumbers: true, fractions: true });
      run("setfattr", "-n", "user.note", "-v", "0x000a3d0a", join(directory, "large"));
      const { stdout } = spawnSync("bsdtar", ["--format=pax", "-C", directory, "-cf", "-", "."], {
        maxBuffer: 1 << 28,
      });
      await compare(t, [{ tar: stdout, compression }]);
    });
  });

const SPARSE = [
  "gnu",
  "oldgnu",
  "posix --sparse-version=0.0",
  "posix --sparse-version=0.1",
  "posix --sparse-version=1.0",
];
for (const options of SPARSE)
  test(`sparse files, ${options}`, async (t) => {
    await withDirectory(async (directory) => {
      const sparse = (name: string, size: number, runs: readonly (readonly [at: number, length: number])[]) => {
        const file = openSync(join(directory, name), "w");
        for (const [at, length] of runs) writeSync(file, new Uint8Array(length).fill(65 + (at % 23)), 0, length, at);
        truncateSync(join(directory, name), size);
      };
      sparse("hole-only", 1_000_000, []);
      sparse("hole-first", 1_000_000, [[900_000, 100_000]]);
      sparse("hole-last", 2_000_000, [[0, 4096]]);
      sparse("odd-end", 1_000_001, [[999_900, 101]]);
      sparse(
        "many",
        60 * 100_000,
        Array.from({ length: 60 }, (_, i) => [i * 100_000, 5000 + i] as const),
      );
      sparse(`${"long-".repeat(30)}name`, 500_000, [[100_000, 10]]);
      writeFileSync(join(directory, "zz-after"), "the next header is found");
      const tar = gnuTar(directory, ["-S", "--sort=name", ...`--format=${options}`.split(" ")]);
      await compare(t, [{ tar }], { oracle: options.includes("gnu") ? "tar" : "umoci" });
    });
  });

test("xattrs as bytes, by GNU tar", async (t) => {
  await withDirectory(async (directory) => {
    const file = (name: string, attribute: string, value: string) => {
      writeFileSync(join(directory, name), "");
      run("setfattr", "-n", attribute, "-v", value, join(directory, name));
    };
    file("newlines", "user.text", "0x0a310a3d0a");
    file("nul", "user.nul", "0x000001ff00");
    file("capability", "security.capability", "0x0100000200040000000000000000000000000000");
    file("trusted", "trusted.own", "0x41");
    file("large", "user.large", `0x${"5a".repeat(3000)}`);
    file("equals", "user.a=b", "0x41");
    mkdirSync(join(directory, "dir"));
    run("setfattr", "-n", "user.dir", "-v", "0x42", join(directory, "dir"));
    file("empty-value", "user.empty", "0x");
    const tar = gnuTar(directory, ["--format=posix", "--xattrs", "--xattrs-include=*", "--sort=name"]);
    await compare(t, [{ tar }], {
      differs: { "empty-value: xattrs": "Go's reader takes an empty record for a removal; GNU tar restores it" },
    });
  });
});

// What layers mean, with a tar writer that writes anything.

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
  if (umoci === undefined) return;
  if (process.getuid?.() !== 0) return t.skip("umoci unpack needs root");
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

test("the root of a real system", async (t) => {
  const tar = process.env["ASHLAR_REAL_TAR"];
  if (tar === undefined) return t.skip("ASHLAR_REAL_TAR names no tar of a system's root");
  const listing = await compare(t, [{ tar }]);
  if (listing.size > 0) assert.ok(listing.size > 5000);
});
