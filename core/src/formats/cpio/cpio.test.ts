import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, byteString, concatBytes, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource, readAll } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  type Node,
  putNode,
  regularFile,
  symlink,
  walkTree,
} from "../../tree/index.ts";
import { cpioArchives, cpioTree, encodeCpio, parseCpio } from "./index.ts";

const file = (text: string, mode = 0o644) => regularFile(attributes(mode), bytesSource(encodeUtf8(text)));

function sample(): Directory {
  const root = directory(attributes(0o755));
  putNode(root, "usr/bin/tool", file("#!/bin/sh\n", 0o755));
  putNode(root, "bin", symlink(attributes(0o777), "usr/bin" as ByteString));
  putNode(root, fromUtf8("etc/é name"), file("12345"));
  putNode(root, "etc/empty", file(""));
  const twice = file("two names\n");
  putNode(root, "a/first", twice);
  putNode(root, "z/last", twice);
  putNode(root, "dev/null", { type: "character", ...attributes(0o666), major: 1, minor: 3 });
  putNode(root, "dev/pipe", { type: "fifo", ...attributes(0o600) });
  return root;
}

/** A line a name: what must survive. */
async function listing(root: Directory): Promise<string[]> {
  const numbers = new Map<Node, number>();
  const lines: string[] = [];
  for (const { path, node } of walkTree(root)) {
    if (path === "") continue;
    if (node.type !== "directory" && !numbers.has(node)) numbers.set(node, numbers.size);
    const detail =
      node.type === "file"
        ? byteString(await readAll(node.content, 1 << 20, "content"))
        : node.type === "symlink"
          ? node.target
          : node.type === "character" || node.type === "block"
            ? `${node.major}:${node.minor}`
            : "";
    lines.push(`${path} ${node.type} ${node.mode.toString(8)} ${numbers.get(node) ?? ""} ${JSON.stringify(detail)}`);
  }
  return lines;
}

test("a tree comes back as it was", async () => {
  const root = sample();
  const bytes = await encodeCpio(root);
  const { entries, end } = parseCpio(bytes);
  assert.equal(end, bytes.length);
  assert.equal(bytes.length % 4, 0);
  assert.deepEqual(await listing(cpioTree(entries)), await listing(root));
});

test("owners, times and the order of insertion leave no trace", async () => {
  const root = sample();
  const other = directory({ ...attributes(0o700), uid: 5, mtime: 9n }, [...root.entries].reverse());
  for (const { node } of walkTree(other)) Object.assign(node, { uid: 7, gid: 8, mtime: 123n });
  assert.deepEqual(await encodeCpio(other), await encodeCpio(sample()));
});

test("archives behind each other are one, later entries win", async () => {
  const root = sample();
  const more = directory(attributes(0o755));
  putNode(more, "etc/empty", file("no longer"));
  const first = await encodeCpio(root);
  const compressed = Uint8Array.of(0x1f, 0x8b, 8, 0);
  const bytes = concatBytes(first, new Uint8Array(512), await encodeCpio(more), new Uint8Array(8), compressed);
  const { entries, end } = parseCpio(bytes);
  assert.equal(end, bytes.length - compressed.length);
  putNode(root, "etc/empty", file("no longer"));
  assert.deepEqual(await listing(cpioTree(entries)), await listing(root));
});

test("archives of a bounded size are the same tree, with directories first and hard links whole", async () => {
  const root = sample();
  const many = directory(attributes(0o755));
  const twice = file("of many names");
  for (let i = 0; i < 40; i++) {
    putNode(many, `usr/share/${i % 7}/file ${i}`, file("x".repeat(i * 10)));
    putNode(many, `usr/${i % 5}/again ${i}`, twice);
  }
  for (const tree of [root, many, directory(attributes(0o755))])
    for (const size of [1, 500, 3000, 100_000]) {
      const archives: Uint8Array[] = [];
      for await (const archive of cpioArchives(tree, size)) archives.push(archive);
      const { entries } = parseCpio(concatBytes(...archives));
      assert.deepEqual(await listing(cpioTree(entries)), await listing(tree));
      if (size === 100_000) assert.deepEqual(archives, [await encodeCpio(tree)]);
      const seen = new Set<string>([""]);
      const archiveOf = new Map<string, number>();
      for (const { name, header, archive } of entries) {
        assert.ok(seen.has(name.slice(0, Math.max(0, name.lastIndexOf("/")))), `${name} before its directory`);
        seen.add(name);
        if (!name.includes("again")) continue;
        assert.equal(archiveOf.get("again") ?? archive, archive);
        archiveOf.set("again", archive);
        assert.equal(header.links, 40);
      }
      for (const archive of archives) {
        const { entries: own } = parseCpio(archive);
        assert.ok(archive.length <= size + 200 || new Set(own.map(({ header }) => header.inode)).size === 1);
      }
    }
});

test("names out of the tree, cut archives and odd numbers are refused", async () => {
  const bytes = await encodeCpio(sample());
  const broken = (change: (copy: Uint8Array) => Uint8Array): (() => unknown) => {
    const copy = change(bytes.slice());
    return () => cpioTree(parseCpio(copy).entries);
  };
  const code = (expected: string) => (error: unknown) => isAshlarError(error) && error.code === expected;
  assert.throws(
    broken((copy) => copy.subarray(0, 200)),
    code("truncated"),
  );
  assert.throws(
    broken((copy) => copy.fill(0x78, 6, 14)),
    code("bad-number"),
  );
  assert.throws(
    broken((copy) => copy.fill(0x46, 94, 102)),
    code("bad-name"),
  );
  assert.throws(
    broken((copy) => copy.fill(0, 0, 6)),
    code("bad-magic"),
  );
  const up = directory(attributes(0o755), [[".." as ByteString, file("x")]]);
  const escaping = await encodeCpio(up);
  assert.throws(() => cpioTree(parseCpio(escaping).entries), code("bad-name"));
  const trailer = directory(attributes(0o755), [["TRAILER!!!" as ByteString, file("x")]]);
  await assert.rejects(encodeCpio(trailer), code("cpio-name"));
});

test("any bytes give a value or one of our errors", async () => {
  const bytes = await encodeCpio(sample());
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ minLength: 1, maxLength: 12 }), (at, noise) => {
      const copy = bytes.slice();
      copy.set(noise.subarray(0, copy.length - at), at);
      try {
        cpioTree(parseCpio(copy).entries);
      } catch (error) {
        assert.ok(isAshlarError(error), String(error));
      }
    }),
    { numRuns: 500 },
  );
});

const name = fc.stringMatching(/^[a-z0-9 ._-]{1,12}$/).filter((text) => text !== "." && text !== "..");

test("any tree of files comes back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.array(name, { minLength: 1, maxLength: 3 }), fc.string({ maxLength: 20 }))),
      async (files) => {
        const root = directory(attributes(0o755));
        for (const [path, text] of files)
          try {
            putNode(root, path.join("/"), file(text));
          } catch {} // a parent is a file already
        assert.deepEqual(await listing(cpioTree(parseCpio(await encodeCpio(root)).entries)), await listing(root));
      },
    ),
    { numRuns: 50 },
  );
});

test("GNU cpio unpacks the same", async (t) => {
  if (spawnSync("cpio", ["--version"]).status !== 0) return t.skip("cpio is not installed");
  const root = sample();
  (root.entries.get("dev" as ByteString) as Directory).entries.delete("null" as ByteString); // would need root
  const folder = mkdtempSync(join(tmpdir(), "ashlar-cpio-"));
  try {
    const run = spawnSync("cpio", ["-idm", "--quiet", "--no-preserve-owner"], {
      cwd: folder,
      input: await encodeCpio(root),
    });
    assert.equal(run.status, 0, String(run.stderr));
    assert.equal(readFileSync(join(folder, "usr/bin/tool"), "utf8"), "#!/bin/sh\n");
    assert.equal(readlinkSync(join(folder, "bin")), "usr/bin");
    assert.deepEqual(readdirSync(join(folder, "etc")).sort(), ["empty", "é name"]);
    assert.equal(statSync(join(folder, "a/first")).ino, statSync(join(folder, "z/last")).ino);
    assert.equal(readFileSync(join(folder, "z/last"), "utf8"), "two names\n");
    // And the way back: what GNU cpio writes, we read.
    const names = [...walkTree(root)].flatMap(({ path }) => (path === "" ? [] : [path]));
    const packed = spawnSync("cpio", ["-o", "-H", "newc", "--quiet"], {
      cwd: folder,
      input: Buffer.from(`${names.join("\n")}\n`, "latin1"),
    });
    assert.equal(packed.status, 0, String(packed.stderr));
    const lines = await listing(cpioTree(parseCpio(new Uint8Array(packed.stdout)).entries));
    assert.deepEqual(lines, await listing(root));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
