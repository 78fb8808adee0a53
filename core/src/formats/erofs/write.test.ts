import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, fromUtf8, toHex } from "../../bytes/index.ts";
import { FormatError, IntegrityError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource, memorySink, type RandomSink, type Source } from "../../source/index.ts";
import { attributes, type Directory, directory, getNode, type Node, regularFile, symlink } from "../../tree/index.ts";
import { checkErofs, openErofs, readTree, type WriteErofsOptions, writeErofs } from "./index.ts";
import { describeTree, patternBytes, tree } from "./trees.test.ts";

const text = (value: string): ByteString => fromUtf8(value);
const file = (size: number, seed = 0, own = attributes(0o644)) =>
  regularFile(own, bytesSource(patternBytes(size, seed)));
const root = (entries: Record<string, Node>): Directory =>
  directory(
    attributes(0o755),
    Object.entries(entries).map(([name, node]) => [text(name), node] as const),
  );

async function image(tree: Directory, options: WriteErofsOptions = {}) {
  const sink = memorySink();
  const written = await writeErofs(tree, sink, options);
  return { bytes: sink.bytes(), written };
}

async function assertRoundTrip(original: Directory, options: WriteErofsOptions): Promise<void> {
  const { bytes, written } = await image(original, options);
  assert.equal(bytes.length, written.size);
  const source = bytesSource(bytes);
  assert.deepEqual(await describeTree(await readTree(await openErofs(source))), await describeTree(original));
  assert.deepEqual(await checkErofs(source), []);
}

const options = fc.record({
  blockSize: fc.constantFrom(512, 1024, 2048, 4096, 4096, 4096),
  tails: fc.constantFrom("blocks" as const, "inline" as const),
});

test("tree → image → tree is the identity, and the image has no findings", async () => {
  await fc.assert(fc.asyncProperty(tree, options, assertRoundTrip), { numRuns: 300 });
});

test("the same tree gives the same bytes, whatever the order of its maps and the pace of its sources", async () => {
  await fc.assert(
    fc.asyncProperty(tree, options, fc.nat(), async (original, options, seed) => {
      const shuffled = new Map<Node, Node>();
      let state = seed;
      const slow = (source: Source): Source => ({
        size: source.size,
        async read(offset, length) {
          state = (state * 1103515245 + 12345) & 0x7fffffff;
          for (let turns = state % 5; turns > 0; turns--) await undefined;
          return source.read(offset, length);
        },
      });
      const copy = (node: Node): Node => {
        const known = shuffled.get(node);
        if (known !== undefined) return known;
        const xattrs = new Map([...node.xattrs].reverse());
        let made: Node = { ...node, xattrs };
        if (node.type === "file") made = { ...node, xattrs, content: slow(node.content) };
        if (node.type === "directory")
          made = {
            ...node,
            xattrs,
            entries: new Map([...node.entries].reverse().map(([n, child]) => [n, copy(child)])),
          };
        shuffled.set(node, made);
        return made;
      };
      const a = await image(original, options);
      const b = await image(copy(original) as Directory, options);
      assert.ok(Buffer.compare(a.bytes, b.bytes) === 0);
    }),
    { numRuns: 100 },
  );
});

test("sizes around every boundary, tails in blocks and inline", async () => {
  for (const tails of ["blocks", "inline"] as const) {
    const entries: Record<string, Node> = {};
    for (let size = 3950; size < 4110; size++) {
      entries[`f${size}`] = file(size, size & 255);
      entries[`l${size}`] = symlink(attributes(0o777), text("t".repeat(Math.min(size, 4095))));
      entries[`x${size}`] = file(4096 + (size % 97), 3, attributes(0o600, { mtime: BigInt(size) }));
    }
    await assertRoundTrip(root(entries), { tails });
  }
});

test("a directory of 200 000 entries in many blocks", async () => {
  const node = file(3);
  const entries = new Map<ByteString, Node>();
  for (let i = 0; i < 200_000; i++) entries.set(text(`entry-${(i * 7919) % 200_000}`), node);
  const { bytes } = await image(directory(attributes(0o755), entries));
  const opened = await openErofs(bytesSource(bytes));
  assert.equal((await opened.readDirectory(opened.root)).length, 200_000);
  for (const name of ["entry-0", "entry-99999", "entry-5", "entry-199999"])
    assert.equal((await opened.lookup(name))?.links, 200_000, name);
  assert.equal(await opened.lookup("entry-200000"), undefined);
  assert.equal(await opened.lookup("aaa"), undefined);
});

test("directories whose data is near a multiple of a block", async () => {
  for (let extra = 0; extra < 60; extra++) {
    const full = (): Directory => {
      const entries: Record<string, Node> = { deep: root({}) };
      for (let i = 0; i < 60; i++) entries[`${i}`.padStart(50, "n")] = file(0);
      entries["z".repeat(1 + extra * 4)] = file(1);
      return root(entries);
    };
    await assertRoundTrip(root({ a: full(), b: full() }), {});
  }
});

test("the sink gets whole blocks, each once, ascending, the first block last", async () => {
  const original = root({ a: file(3_000_000), b: file(1), c: file(2_097_152), d: file(0), e: file(5_000) });
  let next = 4096;
  let head = false;
  const sink: RandomSink = {
    async writeAt(offset, bytes) {
      assert.equal(head, false, "something comes after the head");
      assert.equal(bytes.length % 4096, 0);
      assert.ok(bytes.length <= 1024 * 1024);
      if (offset === 0) {
        head = true;
        assert.equal(bytes.length, 4096);
      } else {
        assert.equal(offset, next);
        next += bytes.length;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    },
  };
  const written = await writeErofs(original, sink);
  assert.ok(head);
  assert.equal(next, written.size);
});

test("file data stands in canonical order, each file at its first name", async () => {
  const b = file(5000, 2);
  const { bytes } = await image(root({ "z-dir": root({ a: b }), b, a: file(4096, 1), c: file(1, 3) }));
  const opened = await openErofs(bytesSource(bytes));
  const at = async (path: string) => (await opened.lookup(path))?.u;
  assert.deepEqual([await at("a"), await at("b"), await at("z-dir/a"), await at("c")], [1, 2, 2, 4]);
});

test("most inodes are compact: the epoch is the most common time, the smaller of two", async () => {
  const at = (mtime: bigint) => file(1, 0, attributes(0o644, { mtime }));
  const { bytes } = await image(root({ a: at(9n), b: at(5n), c: at(9n), d: at(5n), e: at(7n) }));
  const opened = await openErofs(bytesSource(bytes));
  assert.equal(opened.superblock.epoch, 5n);
  assert.equal((await opened.lookup("b"))?.isExtended, false);
  assert.equal((await opened.lookup("a"))?.isExtended, true);
});

test("xattrs that two inodes have are shared when that is smaller", async () => {
  const own = (value: number, size: number) =>
    attributes(0o644, { xattrs: new Map([[text("security.selinux"), new Uint8Array(size).fill(value)]]) });
  const { bytes } = await image(
    root({ a: file(1, 0, own(1, 40)), b: file(1, 0, own(1, 40)), c: file(1, 0, own(2, 40)) }),
  );
  const opened = await openErofs(bytesSource(bytes));
  assert.ok(opened.superblock.xattrStart > 0);
  const size = async (path: string) => (await opened.lookup(path))?.xattrSize;
  assert.deepEqual([await size("a"), await size("b")], [16, 16]);
  assert.equal(await size("c"), 12 + 4 + "selinux".length + 40 + 1);
});

test("more than 255 shared xattrs: the rest stand inline", async () => {
  const many = () =>
    file(
      1,
      0,
      attributes(0o644, {
        xattrs: new Map(Array.from({ length: 300 }, (_, i) => [text(`user.${i}`), new Uint8Array(30)] as const)),
      }),
    );
  await assertRoundTrip(root({ a: many(), b: many() }), {});
});

test("uuid: given, computed, or from the content", async () => {
  const original = root({ a: file(10) });
  const uuid = new Uint8Array(16).fill(0xab);
  assert.equal((await image(original, { uuid })).written.uuid, "abababab-abab-abab-abab-abababababab");
  let size = 0;
  const computed = await image(original, {
    async uuid(superblock, imageSize) {
      assert.equal(superblock.length, 128);
      assert.equal(toHex(superblock.subarray(48, 64)), "0".repeat(32));
      assert.equal(toHex(superblock.subarray(4, 8)), "00000000");
      size = imageSize;
      return uuid;
    },
  });
  assert.equal(size, computed.written.size);
  const a = await image(original);
  const b = await image(root({ a: file(10, 1) }));
  assert.match(a.written.uuid, /^.{8}-.{4}-8.{3}-[89ab]/);
  assert.notEqual(a.written.uuid, b.written.uuid);
});

test("progress ends at the total, known from the start", async () => {
  for (const tails of ["blocks", "inline"] as const) {
    const calls: [number, number][] = [];
    await image(root({ a: file(3_000_000), b: file(5) }), { tails, onProgress: (...call) => calls.push(call) });
    assert.deepEqual(calls[0], [0, 3_000_005]);
    assert.deepEqual(calls.at(-1), [3_000_005, 3_000_005]);
  }
});

test("a signal stops the writer", async () => {
  const controller = new AbortController();
  const original = root({ a: file(5_000_000), b: file(5_000_000) });
  await assert.rejects(
    image(original, {
      signal: controller.signal,
      onProgress: (done) => {
        if (done > 0) controller.abort(new Error("enough"));
      },
    }),
    /enough/,
  );
});

test("errors of a source name the path and keep their class", async () => {
  const failing = (error: unknown, give = 5): Directory =>
    root({
      etc: root({
        "bad\n": regularFile(attributes(0o644), {
          size: 10,
          async read() {
            if (error !== undefined) throw error;
            return new Uint8Array(give);
          },
        }),
      }),
    });
  const path = "/etc/bad\\x0a";
  await assert.rejects(image(failing(undefined)), (error) => {
    assert.ok(error instanceof SourceError);
    assert.equal(error.code, "short-read");
    assert.equal(error.details.path, path);
    return true;
  });
  await assert.rejects(image(failing(new Error("disk on fire"))), /\/etc\/bad\\x0a: cannot be read: disk on fire/);
  await assert.rejects(image(failing(new IntegrityError("digest-mismatch", "wrong"))), (error) => {
    assert.ok(error instanceof IntegrityError);
    assert.equal(error.code, "digest-mismatch");
    assert.equal(error.message, `${path}: wrong`);
    return true;
  });
});

test("an error of the sink comes through as it is", async () => {
  const full = new Error("no space");
  const sink: RandomSink = {
    async writeAt(offset) {
      if (offset > 2_000_000) throw full;
    },
  };
  await assert.rejects(writeErofs(root({ a: file(20_000_000) }), sink), (error) => error === full);
});

test("what EROFS or no tree can hold is refused by path, before anything is written", async () => {
  const xattr = (name: string, size = 1) =>
    root({ f: file(1, 0, attributes(0o644, { xattrs: new Map([[text(name), new Uint8Array(size)]]) })) });
  const shared = root({});
  const manyBig = new Map(Array.from({ length: 5 }, (_, i) => [text(`user.${i}`), new Uint8Array(65_000)] as const));
  const cases: [string, Directory, abstract new (...args: never[]) => Error][] = [
    ["xattr-namespace", xattr("system.nfs4_acl"), UnsupportedError],
    ["xattr-namespace", xattr("user."), UnsupportedError],
    ["xattr-namespace", xattr("lustre.lov"), UnsupportedError],
    ["xattr-name", xattr(`user.${"x".repeat(251)}`), UnsupportedError],
    ["xattr-value", xattr("user.x", 65_536), UnsupportedError],
    ["xattr-total", root({ f: file(1, 0, attributes(0o644, { xattrs: manyBig })) }), UnsupportedError],
    ["bad-xattr", xattr("user.a\0b"), FormatError],
    ["name-too-long", root({ ["n".repeat(256)]: file(1) }), UnsupportedError],
    ["bad-name", root({ "..": file(1) }), FormatError],
    ["bad-name", root({ "a\0b": file(1) }), FormatError],
    ["bad-link", root({ l: symlink(attributes(0o777), text("")) }), FormatError],
    ["link-too-long", root({ l: symlink(attributes(0o777), text("x".repeat(4096))) }), UnsupportedError],
    ["device", root({ d: { type: "block", ...attributes(0o600), major: 4096, minor: 0 } }), UnsupportedError],
    ["owner", root({ f: file(1, 0, attributes(0o644, { uid: 2 ** 32 })) }), UnsupportedError],
    ["directory-linked", root({ a: shared, b: shared }), FormatError],
  ];
  for (const [code, original, kind] of cases) {
    const sink: RandomSink = { writeAt: async () => assert.fail("written") };
    await assert.rejects(writeErofs(original, sink), (error) => {
      assert.ok(error instanceof kind, `${code}: ${error}`);
      assert.equal((error as FormatError).code, code);
      assert.match(error.message, /^[^\n]*\/[^\n]*$/);
      return true;
    });
  }
});

test("a name with a slash in it is refused", async () => {
  await assert.rejects(image(root({ "a/b": file(1) })), FormatError);
});

test("reading a window of a file reads that window", async () => {
  const { bytes } = await image(root({ f: file(100_000, 9) }), { tails: "inline" });
  const node = getNode(await readTree(await openErofs(bytesSource(bytes))), "f");
  assert.ok(node?.type === "file");
  assert.deepEqual(await node.content.read(98_000, 2_000), patternBytes(100_000, 9).subarray(98_000));
});
