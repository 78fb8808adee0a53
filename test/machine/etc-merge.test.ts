import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, bytesOf } from "../../core/src/bytes/index.ts";
import { UnsupportedError } from "../../core/src/errors/index.ts";
import { isWhiteout, overlayView, upperFor, whiteout, withAttributes } from "../../core/src/ops/etc/layer.ts";
import { type EtcConflict, mergeEtc } from "../../core/src/ops/etc/merge.ts";
import { attributes, type Directory, directory, getNode, type Node, symlink } from "../../core/src/tree/index.ts";
import { etcTree, file, linesOf, relatedTrees } from "../support/etc-trees.ts";

const tree = (entries: Record<string, Node>, mode = 0o755): Directory =>
  directory(attributes(mode), Object.entries(entries) as [ByteString, Node][]);
const same = async (a: Directory, b: Directory) => assert.deepEqual(await linesOf(a), await linesOf(b));
const kinds = (conflicts: readonly EtcConflict[]) => conflicts.map(({ kind, path }) => `${kind} ${path}`);
const xattr = (name: string, value: string) => new Map([[name as ByteString, bytesOf(value as ByteString)]]);

test("an upper layer shows what it was made for", async () => {
  await fc.assert(
    fc.asyncProperty(etcTree, etcTree, async (lower, wanted) => {
      const upper = await upperFor(lower, wanted);
      await same(overlayView(lower, upper), wanted);
      // Nothing in it is in vain: a layer made of what it shows is no smaller.
      assert.deepEqual(await linesOf(await upperFor(lower, overlayView(lower, upper))), await linesOf(upper));
    }),
    { numRuns: 500 },
  );
});

test("the layer over a tree that is wanted as it is holds nothing", async () => {
  await fc.assert(
    fc.asyncProperty(etcTree, async (lower) => {
      assert.equal((await upperFor(lower, overlayView(lower, tree({})))).entries.size, 0);
    }),
  );
});

test("what only one side has changed is in the result, and nothing is contested", async () => {
  await fc.assert(
    fc.asyncProperty(relatedTrees(1), async (trees) => {
      const [base, other] = trees as [Directory, Directory];
      for (const [local, next] of [
        [base, other],
        [other, base],
        [other, other],
      ] as const) {
        const { tree: merged, conflicts, clashes } = await mergeEtc(base, local, next);
        await same(merged, other);
        assert.deepEqual([conflicts, clashes], [[], []]);
      }
    }),
    { numRuns: 500 },
  );
});

test("without conflicts it does not matter which side is which", async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(relatedTrees(2), async (trees) => {
      const [base, local, next] = trees as [Directory, Directory, Directory];
      const one = await mergeEtc(base, local, next);
      const other = await mergeEtc(base, next, local);
      if (one.conflicts.length > 0 || other.conflicts.length > 0) return;
      compared++;
      await same(one.tree, other.tree);
    }),
    { numRuns: 1000 },
  );
  assert.ok(compared > 100, `${compared} cases without conflict`);
});

test("merging again without further changes changes nothing", async () => {
  await fc.assert(
    fc.asyncProperty(relatedTrees(2), async (trees) => {
      const [base, local, next] = trees as [Directory, Directory, Directory];
      const { tree: merged } = await mergeEtc(base, local, next);
      const upper = await upperFor(next, merged);
      const again = await mergeEtc(next, overlayView(next, upper), next);
      await same(again.tree, merged);
      assert.deepEqual(again.conflicts, []);
    }),
    { numRuns: 500 },
  );
});

test("every leaf of the result is somebody's, and the winner's where both changed it", async () => {
  await fc.assert(
    fc.asyncProperty(relatedTrees(2), fc.constantFrom("local", "image"), async (trees, winner) => {
      const [base, local, next] = trees as [Directory, Directory, Directory];
      const { tree: merged, conflicts } = await mergeEtc(base, local, next, { winner });
      const [mine, theirs] = [new Set(await linesOf(local)), new Set(await linesOf(next))];
      const contents = new Set([...mine, ...theirs].map((line) => line.split(" ").slice(0, 2).join(" ")));
      for (const line of await linesOf(merged)) {
        const [path = "", type = ""] = line.split(" ");
        assert.ok(contents.has(`${path} ${type}`), `${line} is nobody's`);
        const node = getNode(merged, path);
        const attributesAlone = node?.type === "directory" || node !== getNode(local, path);
        if (!mine.has(line) && !theirs.has(line)) assert.ok(attributesAlone, line);
      }
      for (const { kind, path } of conflicts.filter(({ what }) => what === undefined)) {
        const at = path.slice("/etc/".length);
        const want = getNode(winner === "local" ? local : next, at);
        if (want?.type !== "directory") assert.equal(getNode(merged, at)?.type, want?.type, `${kind} ${path}`);
      }
    }),
    { numRuns: 500 },
  );
});

test("a changed mode goes along with the image's new content; a changed content stays as a whole", async () => {
  const base = tree({ a: file("1"), b: file("1") });
  const local = tree({ a: withAttributes(base.entries.get("a" as ByteString)!, { mode: 0o600 }), b: file("mine") });
  const next = tree({ a: file("2"), b: file("2", 0o640) });
  const { tree: merged, conflicts } = await mergeEtc(base, local, next);
  await same(merged, tree({ a: file("2", 0o600), b: file("mine") }));
  assert.deepEqual(kinds(conflicts), ["both-changed /etc/b"]);
  await same(
    (await mergeEtc(base, local, next, { winner: "image" })).tree,
    tree({ a: file("2", 0o600), b: file("2", 0o640) }),
  );
});

test("removed here stays removed, and is said where the image changed it", async () => {
  const base = tree({ a: file("1"), b: file("1"), d: tree({ x: file("1") }) });
  const next = tree({ a: file("1"), b: file("2"), d: tree({ x: file("1"), y: file("new") }) });
  const { tree: merged, conflicts } = await mergeEtc(base, tree({}), next);
  await same(merged, tree({}));
  assert.deepEqual(kinds(conflicts), ["removed-here /etc/b", "removed-here /etc/d"]);
  const upper = await upperFor(next, merged);
  assert.deepEqual([...upper.entries.values()].map(isWhiteout), [true, true, true]);
});

test("a directory that the image has no more stays for what was changed in it", async () => {
  const base = tree({ d: tree({ kept: file("1"), changed: file("1") }), e: tree({ x: file("1") }) });
  const local = tree({
    d: tree({ kept: file("1"), changed: file("2"), added: file("3") }),
    e: tree({ x: file("1") }),
  });
  const gone = await mergeEtc(base, local, tree({}));
  await same(gone.tree, tree({ d: tree({ changed: file("2"), added: file("3") }) }));
  assert.deepEqual(kinds(gone.conflicts), ["removed-in-image /etc/d/changed"]);
  const link = symlink(attributes(0o777), "/usr/lib/d" as ByteString);
  const replaced = await mergeEtc(base, local, tree({ d: link }));
  await same(replaced.tree, gone.tree);
  assert.deepEqual(kinds(replaced.conflicts), ["other-type /etc/d"]);
  await same((await mergeEtc(base, local, tree({ d: link }), { winner: "image" })).tree, tree({ d: link }));
});

test("what the machine writes for itself is never carried, and its id always is", async () => {
  const id = "0123456789abcdef0123456789abcdef\n";
  const base = tree({ "machine-id": file(""), "ld.so.cache": file("1") });
  const local = tree({
    "machine-id": file(id),
    "ld.so.cache": file("2"),
    ".updated": file(""),
    ".pwd.lock": file(""),
    "passwd-": file("old"),
  });
  const next = tree({ "machine-id": file("uninitialized\n"), "ld.so.cache": file("3"), "passwd-": file("new") });
  const { tree: merged, conflicts } = await mergeEtc(base, local, next);
  await same(merged, tree({ "machine-id": file(id), "ld.so.cache": file("3"), "passwd-": file("old") }));
  assert.deepEqual(conflicts, []);
});

test("names that are special in /etc are nothing special below it", async () => {
  const base = tree({ d: tree({ passwd: file("a\n"), ".updated": file("1") }) });
  const local = tree({ d: tree({ passwd: file("b\n"), ".updated": file("2") }) });
  const next = tree({ d: tree({ passwd: file("c\n"), ".updated": file("1") }) });
  const { tree: merged, conflicts } = await mergeEtc(base, local, next);
  await same(merged, local);
  assert.deepEqual(kinds(conflicts), ["both-changed /etc/d/passwd"]);
});

test("accounts are merged by entries; a number that is taken is a clash", async () => {
  const base = tree({ passwd: file("root:x:0:0:root:/root:/bin/sh\n"), group: file("adm:x:4:\n") });
  const local = tree({
    passwd: file("root:x:0:0:root:/root:/bin/sh\nann:x:999:999::/home/ann:/bin/sh\n"),
    group: file("adm:x:4:ann\nann:x:999:\n"),
  });
  const next = tree({
    passwd: file("root:x:0:0:root:/root:/bin/bash\nsvc:x:999:998::/:/bin/false\n"),
    group: file("adm:x:4:\nsvc:x:998:\n"),
  });
  const { tree: merged, conflicts, clashes } = await mergeEtc(base, local, next);
  await same(
    merged,
    tree({
      passwd: file("root:x:0:0:root:/root:/bin/bash\nann:x:999:999::/home/ann:/bin/sh\n"),
      group: file("adm:x:4:ann\nsvc:x:998:\nann:x:999:\n"),
    }),
  );
  assert.deepEqual(conflicts, []);
  assert.deepEqual(clashes, [
    { kind: "number-taken", path: "/etc/passwd", entry: "svc", what: "number 999 is ann here" },
  ]);
});

test("the kernel's notes are not shown, opaque directories hide, whiteouts hide on both sides", async () => {
  const lower = tree({ a: file("1"), d: tree({ x: file("1") }), w: whiteout() });
  const upper = tree({
    a: whiteout(),
    d: withAttributes(tree({ y: file("2") }), { xattrs: xattr("trusted.overlay.opaque", "y") }),
    f: withAttributes(file("3"), { xattrs: xattr("trusted.overlay.origin", "?") }),
  });
  await same(overlayView(lower, upper), tree({ d: tree({ y: file("2") }), f: file("3") }));
});

test("a layer of an overlay with redirects is refused: what it shows is elsewhere", () => {
  const upper = tree({ d: withAttributes(tree({}), { xattrs: xattr("trusted.overlay.redirect", "x") }) });
  assert.throws(
    () => overlayView(tree({}), upper),
    (error) => error instanceof UnsupportedError && error.code === "overlay-feature",
  );
});
