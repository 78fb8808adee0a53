// Our EROFS images against fsck.erofs, dump.erofs and the kernel's mount; images of mkfs.erofs against our reader.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { fromHex } from "../../core/src/bytes/index.ts";
import { checkErofs, openErofs, readTree, type WriteErofsOptions } from "../../core/src/formats/erofs/index.ts";
import { walkTree } from "../../core/src/tree/index.ts";
import {
  assertSame,
  expected,
  fileSource,
  folder,
  requireMount,
  sampleTree,
  seenByKernel,
  withMount,
  writeImage,
} from "../support/erofs-images.ts";
import { requireOracle, requireSystem } from "../support/oracle.ts";
import { treeOfTar } from "../support/tar-tree.ts";

const OPTION_SETS: readonly WriteErofsOptions[] = [
  {},
  { tails: "inline" },
  { blockSize: 512, tails: "inline" },
  { blockSize: 1024 },
  { blockSize: 2048, tails: "inline", volumeName: "ashlar" },
];

for (const [i, options] of OPTION_SETS.entries()) {
  const shown = JSON.stringify(options);
  test(`the kernel reads back what was written: ${shown}`, async (t) => {
    const tools = requireMount(t);
    if (tools === undefined) return;
    const path = join(await folder(t), "image");
    const root = sampleTree(i);
    await writeImage(root, path, options);
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), shown);
  });
  for (const from of ["host", "tools"] as const) {
    test(`fsck.erofs (${from}) is content: ${shown}`, async (t) => {
      const fsck = requireOracle(t, "fsck.erofs", { from });
      if (fsck === undefined) return;
      if (from === "host" && (options.blockSize ?? 4096) !== 4096) {
        t.skip("fsck.erofs before 1.7 reads blocks of 4096 bytes only");
        return;
      }
      const path = join(await folder(t), "image");
      await writeImage(sampleTree(i), path, options);
      await fsck.ok(["--extract", path]); // decodes all data, writes nothing
      await using source = await fileSource(path);
      assert.deepEqual(await checkErofs(source), []);
    });
  }
}

test("dump.erofs shows the superblock we meant", async (t) => {
  for (const from of ["host", "tools"] as const) {
    const dump = requireOracle(t, "dump.erofs", { from });
    if (dump === undefined) return;
    const path = join(await folder(t), "image");
    await writeImage(sampleTree(7), path, { uuid: fromHex("00112233445566778899aabbccddeeff") });
    const { stdout } = await dump.ok(["-s", path]);
    assert.match(stdout, /Filesystem UUID:\s+00112233-4455-6677-8899-aabbccddeeff/);
    assert.match(stdout, /Filesystem root nid:\s+1\n/);
    assert.match(stdout, /features:\s+sb_csum mtime\s/);
  }
});

const MKFS_SETS: readonly { readonly from: "host" | "tools"; readonly arguments: readonly string[] }[] = [
  { from: "host", arguments: [] },
  { from: "host", arguments: ["-Enoinline_data"] },
  { from: "host", arguments: ["-Eforce-inode-extended", "-x1"] },
  { from: "tools", arguments: [] },
  { from: "tools", arguments: ["-Eforce-inode-compact", "-T1700000000", "--all-root"] },
  { from: "tools", arguments: ["--chunksize=4096"] },
  { from: "tools", arguments: ["--chunksize=16384", "-Eforce-chunk-indexes"] },
  { from: "tools", arguments: ["-b1024"] },
];

test("images of mkfs.erofs read as the kernel reads them", async (t) => {
  const tools = requireMount(t);
  if (tools === undefined) return;
  const directory = await folder(t);
  const ours = join(directory, "ours");
  const root = sampleTree(11, { names: 300 }); // more would not fit the compact inodes that one set asks for
  for (const { node, parent, path } of [...walkTree(root)]) {
    // What mkfs.erofs 1.5 cannot read: user. xattrs of links and devices, and names of 255 bytes, which it cuts.
    if (node.type !== "file" && node.type !== "directory")
      node.xattrs = new Map([...node.xattrs].filter(([name]) => !name.startsWith("user.")));
    for (const name of parent?.entries.keys() ?? [])
      if (name.length === 255 && path.endsWith(name)) parent?.entries.delete(name);
  }
  await writeImage(root, ours, { tails: "inline" });
  await withMount(tools, ours, async (input) => {
    for (const { from, arguments: options } of MKFS_SETS) {
      const shown = `mkfs.erofs (${from}) ${options.join(" ")}`;
      await t.test(shown, async (t) => {
        const mkfs = requireOracle(t, "mkfs.erofs", { from });
        if (mkfs === undefined) return;
        const theirs = join(directory, "theirs");
        await rm(theirs, { force: true });
        await mkfs.ok(["-d1", ...options, theirs, input]);
        await using source = await fileSource(theirs);
        const root = await readTree(await openErofs(source));
        const seen = await withMount(tools, theirs, (at) => seenByKernel(tools.python, at));
        assertSame(seen, await expected(root), shown);
      });
    }
  });
});

test("a whole Debian system, from its tar", async (t) => {
  const tools = requireMount(t);
  if (tools === undefined) return;
  const tar = requireSystem(t, "trixie");
  if (tar === undefined) return;
  const path = join(await folder(t), "image");
  await using source = await fileSource(tar);
  const root = await treeOfTar(source);
  for (const tails of ["blocks", "inline"] as const) {
    await writeImage(root, path, { tails });
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), tails);
    await using image = await fileSource(path);
    assert.deepEqual(await checkErofs(image), []);
  }
});
