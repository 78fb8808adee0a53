import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { openErofs, readTree } from "../../formats/erofs/index.ts";
import { inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { bytesSource, memoryScratch, memorySink, type Source } from "../../source/index.ts";
import { attributes, type Directory, directory, type Node, putNode, regularFile, symlink } from "../../tree/index.ts";
import type { Artifact } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { silentReporter } from "../report.ts";
import { sealTree } from "../seal/index.ts";
import { type Diff, type DiffInput, diffImages } from "./diff.ts";
import { digestSet } from "./digest-set.ts";

const environment: Environment = {
  hashes: pureHashes,
  blockHasher: inlineBlockHasher(pureHashes),
  compressors: { gzip: async (bytes) => bytes, zstd: async (bytes) => bytes },
  scratch: memoryScratch,
  reporter: silentReporter,
};

/** Text is a file, `-> x` a link; anything else is the node itself. */
function treeOf(files: Readonly<Record<string, string | Uint8Array | Node>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, content] of Object.entries(files)) putNode(root, fromUtf8(path), nodeOf(content));
  return root;
}
function nodeOf(content: string | Uint8Array | Node): Node {
  if (typeof content !== "string" && !(content instanceof Uint8Array)) return content;
  if (typeof content === "string" && content.startsWith("-> "))
    return symlink(attributes(0o777), fromUtf8(content.slice(3)));
  const bytes = typeof content === "string" ? encodeUtf8(content) : content;
  return regularFile(attributes(0o644), bytesSource(bytes));
}
const file = (text: string, values: Parameters<typeof attributes>[1] = {}, mode = 0o644): Node =>
  regularFile(attributes(mode, values), bytesSource(encodeUtf8(text)));

/** Bytes that are not the same in any two blocks. */
function noise(name: string, blocks: number): Uint8Array {
  const bytes = new Uint8Array(blocks * 4096);
  for (let i = 0; i < blocks; i++) bytes.set(createHash("sha256").update(`${name} ${i}`).digest(), i * 4096);
  return bytes;
}

const input = (name: string, root: Directory): DiffInput => ({ name, root, image: undefined });
const diffTrees = (a: Directory, b: Directory): Promise<Diff> => diffImages(input("a", a), input("b", b), environment);
const byPath = (diff: Diff) => Object.fromEntries(diff.files.map((entry) => [entry.path, entry]));

test("the same tree twice: no difference", async () => {
  const make = () => treeOf({ "etc/x": "x", "bin/sh": "-> dash" });
  const diff = await diffTrees(make(), make());
  assert.equal(diff.same, true);
  assert.deepEqual(diff.files, []);
  assert.deepEqual(diff.packages, []);
});

test("every aspect has its name", async () => {
  const a = treeOf({
    same: "same",
    content: "aaaa",
    size: "a",
    target: "-> a",
    device: { type: "character", ...attributes(0o600), major: 1, minor: 3 },
    type: "file",
    mode: file("x", {}, 0o644),
    owner: file("x", { uid: 1 }),
    mtime: file("x", { mtime: 1n }),
    xattrs: file("x", { xattrs: new Map([[fromUtf8("user.a"), Uint8Array.of(1)]]) }),
    "dir/gone": "gone",
  });
  const b = treeOf({
    same: "same",
    content: "bbbb",
    size: "bb",
    target: "-> b",
    device: { type: "character", ...attributes(0o600), major: 1, minor: 5 },
    type: "-> file",
    mode: file("x", {}, 0o600),
    owner: file("x", { uid: 2 }),
    mtime: file("x", { mtime: 2n }),
    xattrs: file("x", { xattrs: new Map([[fromUtf8("user.a"), Uint8Array.of(2)]]) }),
    "dir/new": "new!",
  });
  const diff = await diffTrees(a, b);
  const files = byPath(diff);
  assert.deepEqual(
    Object.fromEntries(diff.files.map(({ path, change, aspects }) => [path, change === "changed" ? aspects : change])),
    {
      "/content": ["content"],
      "/device": ["device"],
      "/dir/gone": "removed",
      "/dir/new": "added",
      "/mode": ["mode"],
      "/mtime": ["mtime"],
      "/owner": ["owner"],
      "/size": ["content"],
      "/target": ["target"],
      "/type": ["type", "mode"],
      "/xattrs": ["xattrs"],
    },
  );
  assert.deepEqual(files["/mode"]?.details, { mode: ["0644", "0600"] });
  assert.deepEqual(files["/owner"]?.details, { owner: ["1:0", "2:0"] });
  assert.deepEqual(files["/size"]?.sizes, [1, 2]);
  assert.deepEqual(diff.totals, {
    added: { files: 1, bytes: 4 },
    removed: { files: 1, bytes: 4 },
    changed: { files: 9, bytes: 6 },
    changedContent: 5,
    changedTimeOnly: 1,
  });
});

test("hard links: grouping is an aspect, content counts once", async () => {
  const one = file("0123456789");
  const a = treeOf({ "bin/a": one, "bin/b": one });
  const two = file("0123456789");
  const b = treeOf({ "bin/a": two, "bin/b": "0123456789", "bin/c": two });
  const { files, totals } = await diffTrees(a, b);
  assert.deepEqual(
    files.map(({ path, change, aspects, sizes }) => [path, change, aspects, sizes]),
    [
      ["/bin/a", "changed", ["links"], [10, 10]],
      ["/bin/b", "changed", ["links"], [10, 10]],
      ["/bin/c", "added", [], [null, 0]], // another name for what A has
    ],
  );
  assert.equal(totals.added.bytes, 0);
  const fresh = file("new content");
  const added = await diffTrees(a, treeOf({ "bin/a": one, "bin/b": one, "x/1": fresh, "x/2": fresh }));
  assert.equal(added.totals.added.bytes, 11);
  assert.deepEqual(
    added.files.map(({ blocks }) => blocks),
    [0, 1, 0],
  );
});

test("blocks of contents are looked for at any place", async () => {
  const old = noise("old", 8);
  const moved = new Uint8Array(9 * 4096);
  moved.set(noise("front", 1));
  moved.set(old, 4096);
  const diff = await diffTrees(treeOf({ "x/old": old }), treeOf({ "y/moved": moved, "z/again": noise("front", 1) }));
  assert.equal(diff.blocks.basis, "contents");
  assert.equal(diff.blocks.total, 10);
  assert.equal(diff.blocks.moved, 1, "the other eight are there, and the tenth is the first again");
  assert.equal(byPath(diff)["/y/moved"]?.blocks, 1);
  assert.equal(byPath(diff)["/z/again"]?.blocks, 0);
});

const status = (version: string, more = "") =>
  `Package: tool\nStatus: install ok installed\nVersion: ${version}\n\nPackage: base\nStatus: install ok installed\nVersion: 1\n${more}`;

test("packages: added, another version, files alone, nothing owned", async () => {
  const a = treeOf({
    "usr/bin/tool": noise("tool 1", 3),
    "usr/bin/base": "base",
    "var/lib/dpkg/status": status("1.0"),
    "var/lib/dpkg/info/tool.list": "/usr/bin/tool\n",
    "var/lib/dpkg/info/base.list": "/usr/bin/base\n",
  });
  const b = treeOf({
    "usr/bin/tool": noise("tool 2", 3),
    "usr/bin/base": "edited by hand",
    "usr/bin/hello": noise("hello", 2),
    "etc/local": "mine",
    "var/lib/dpkg/status": status("2.0", "\nPackage: hello\nStatus: install ok installed\nVersion: 2.10\n"),
    "var/lib/dpkg/info/tool.list": "/usr/bin/tool\n",
    "var/lib/dpkg/info/base.list": "/usr/bin/base\n",
    "var/lib/dpkg/info/hello.list": "/usr/bin/hello\n",
  });
  const { packages, files, a: before, b: after } = await diffTrees(a, b);
  assert.deepEqual(
    packages.map(({ id, change, versions, blocks, added, changed }) => [
      id,
      change,
      ...versions,
      blocks,
      added.bytes,
      changed.bytes,
    ]),
    [
      ["tool", "version", "1.0", "2.0", 3, 0, 12288],
      ["hello", "added", null, "2.10", 3, 8192 + 15, 0],
      ["base", "same", "1", "1", 1, 0, 14],
      [null, "same", null, null, 2, 4, after.bytes - 12288 - 8192 - 15 - 14 - 4 - 28],
    ],
  );
  assert.equal(files.find(({ path }) => path === "/usr/bin/hello")?.package, "hello");
  assert.equal(files.find(({ path }) => path === "/var/lib/dpkg/info/hello.list")?.package, "hello");
  assert.deepEqual([before.packages, after.packages], [2, 3]);
});

/** A sealed image in memory. */
async function seal(name: string, tree: Directory, salt: Uint8Array): Promise<Required<DiffInput>> {
  const make = (): Artifact & { size: number } => {
    const sink = memorySink();
    const artifact = {
      size: 0,
      writeAt: sink.writeAt,
      async setSize(size: number) {
        sink.setSize(size);
        artifact.size = size;
      },
      source: (size: number): Source => bytesSource(sink.bytes().slice(0, size)),
    };
    return artifact;
  };
  const root = make();
  const device = make();
  const sealed = await sealTree(
    tree,
    root,
    device,
    {
      verity: { algorithm: "sha256", salt, dataBlockSize: 4096, hashBlockSize: 4096 },
      verityUuid: "00000000-0000-4000-8000-000000000000",
    },
    environment,
  );
  const data = root.source(sealed.rootSize);
  return {
    name,
    root: await readTree(await openErofs(data)),
    image: { data, hashTree: { device: device.source(sealed.hashDeviceSize), rootHash: sealed.rootHash } },
  };
}

test("blocks of images: the same count from hash trees, from other salts and from the data", async () => {
  const trees = () =>
    [
      treeOf({ "usr/a": noise("a", 20), "usr/b": noise("b", 5) }),
      treeOf({ "usr/a": noise("a", 20), "usr/b": noise("b", 5), "usr/c": noise("c", 7) }),
    ] as const;
  const salt = Uint8Array.of(1, 2, 3);
  const [a, b] = trees();
  const same = [await seal("a", a, salt), await seal("b", b, salt)] as const;
  const [c, d] = trees();
  const other = [await seal("a", c, salt), await seal("b", d, Uint8Array.of(9))] as const;
  const bare = same.map((side): DiffInput => ({ ...side, image: { ...side.image!, hashTree: undefined } }));
  let reads = 0;
  const counting = same.map((side): DiffInput => {
    const { data, hashTree } = side.image!;
    const read: Source["read"] = (...args) => {
      reads++;
      return data.read(...args);
    };
    return { ...side, image: { data: { size: data.size, read }, hashTree } };
  });
  const results = [
    await diffImages(counting[0]!, counting[1]!, environment),
    await diffImages(other[0], other[1], environment),
    await diffImages(bare[0]!, bare[1]!, environment),
    await diffImages(same[0], bare[1]!, environment),
  ];
  assert.equal(reads, 0, "with equal salts no data is read for its blocks");
  for (const { blocks, files } of results) {
    assert.deepEqual(blocks, results[0]!.blocks);
    assert.equal(blocks.basis, "image");
    assert.equal(files.find(({ path }) => path === "/usr/c")?.blocks, 7);
    assert.equal(blocks.moved, 7 + blocks.metadata);
    assert.ok(blocks.metadata >= 1, "the superblock differs at least");
  }
});

test("leaves that do not give the root hash are refused", async () => {
  const side = await seal("a", treeOf({ x: noise("x", 4) }), new Uint8Array(0));
  const { device, rootHash } = side.image!.hashTree!;
  const bytes = (await device.read(0, device.size)).slice();
  bytes[4096] = bytes[4096]! ^ 1;
  const bad: DiffInput = {
    ...side,
    image: { data: side.image!.data, hashTree: { device: bytesSource(bytes), rootHash } },
  };
  await assert.rejects(
    diffImages(side, bad, environment),
    (error) => isAshlarError(error) && error.kind === "IntegrityError",
  );
});

test("names are shown with escapes", async () => {
  const { files } = await diffTrees(treeOf({}), treeOf({ "bad\x1b[2J<script>": "x" }));
  assert.equal(files[0]?.path, "/bad\\x1b[2J<script>");
});

test("a digest set holds what was added", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 3000 }), { maxLength: 5000 }), (numbers) => {
      const set = digestSet(32);
      const known = new Set<number>();
      const digest = new Uint8Array(32);
      const view = new DataView(digest.buffer);
      for (const number of numbers) {
        view.setUint32(0, number % 7); // many that begin alike
        view.setUint32(28, number);
        assert.equal(set.has(digest, 0), known.has(number));
        assert.equal(set.add(digest, 0), !known.has(number));
        known.add(number);
        assert.equal(set.size, known.size);
      }
    }),
    { numRuns: 30 },
  );
});
