import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8, showBytes } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, directory, parseGlob, putNode, regularFile, walkTree } from "../../tree/index.ts";
import { checkForm, chooseForm, type FormOptions, firstFiles, recordForm, standsPlain } from "./form.ts";

test("the first files: in the order of the patterns, of each in the order of paths", () => {
  const root = directory(attributes(0o755));
  for (const path of ["usr/lib/b.so", "usr/lib/a.so", "usr/lib/x/c.so", "usr/bin/sh", "etc/passwd", "etc/a/b"])
    putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(new Uint8Array(1))));
  const names = new Map([...walkTree(root)].map(({ path, node }) => [node, showBytes(path)]));
  const first = (...patterns: string[]) =>
    firstFiles(root, patterns.map(parseGlob)).flatMap((node) => (node.type === "file" ? names.get(node) : []));
  assert.deepEqual(first("usr/bin/sh", "etc/passwd"), ["usr/bin/sh", "etc/passwd"]);
  assert.deepEqual(first("/etc", "usr/lib/*.so", "*.so", "missing"), [
    "etc/a/b",
    "etc/passwd",
    "usr/lib/a.so",
    "usr/lib/b.so",
    "usr/lib/x/c.so",
  ]);
});

const plain: FormOptions = { tails: "blocks" };
const chosen = (options: Partial<FormOptions>, version = "6.1") =>
  chooseForm({ ...plain, ...options }, 4096, async () => {
    const [major, minor] = version.split(".").map(Number) as [number, number];
    return { name: version, major, minor, config: undefined };
  });

test("what a release records, and what a kernel lacks", async () => {
  assert.deepEqual(recordForm(await chosen({})), { tails: "blocks" });
  const options = { tails: "inline", chunksize: 65536, dataFirst: ["sbin/init", "*.so"] } as const;
  assert.deepEqual(recordForm(await chosen(options)), options);
  assert.deepEqual(recordForm(await chooseForm(options, 4096, async () => undefined)), options);
  await assert.rejects(chosen({ chunksize: 4096 }, "5.14"), { code: "kernel-lacks" });
  await assert.rejects(chosen({ tails: "ztailpacking", compress: "lz4" }, "5.16"), { code: "kernel-lacks" });
  await assert.rejects(chosen({ tails: "fragments", compress: "lz4" }, "6.0"), { code: "kernel-lacks" });
  const packed = recordForm(await chosen({ tails: "fragments", compress: "zstd" }, "6.18"));
  assert.deepEqual(packed, { tails: "fragments", compress: "zstd,3", cluster: 65536 }); // not in bytes
});

test("what makes no sense is refused before anything is read", () => {
  for (const [options, code] of [
    [{ chunksize: 65536, compress: "lz4" }, "bad-layout"],
    [{ tails: "fragments" }, "bad-layout"],
    [{ tails: "ztailpacking", compressHints: ["a none"] }, "bad-layout"],
    [{ chunksize: 2048 }, "bad-layout"],
    [{ chunksize: 12288 }, "bad-layout"],
    [{ chunksize: 2 ** 21 }, "bad-layout"],
    [{ dataFirst: ["a/../b"] }, "bad-pattern"],
    [{ dataFirst: new Array(1001).fill("*") }, "bad-layout"],
  ] as const)
    assert.throws(() => checkForm({ ...plain, ...options }, 4096), { kind: "PolicyError", code });
});

test("contents can stand where they are only where the default is asked for", () => {
  assert.equal(standsPlain(plain, 4096), true);
  for (const options of [
    { tails: "inline" },
    { chunksize: 4096 },
    { dataFirst: ["a"] },
    { compress: "lz4" },
    { compressHints: ["a lz4"] },
  ] as const)
    assert.equal(standsPlain({ ...plain, ...options }, 4096), false);
});
