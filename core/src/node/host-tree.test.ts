import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromUtf8 } from "../bytes/index.ts";
import { isAshlarError } from "../errors/index.ts";
import type { Source } from "../source/index.ts";
import { getNode } from "../tree/index.ts";
import { readHostTree } from "./host-tree.ts";

/** Below and above what is read at once. */
const SIZES = [1000, 5_000_000];

test("a file that is not what it was when the tree was read is refused, whatever became of it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-host-tree-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const root = join(folder, "root");
  mkdirSync(root);
  const path = join(root, "file");
  const changes: Readonly<Record<string, (size: number) => void>> = {
    grown: () => appendFileSync(path, "x"),
    shrunk: (size) => truncateSync(path, size - 1),
    rewritten: (size) => writeFileSync(path, Buffer.alloc(size, "b")),
    directory: () => mkdirSync(path),
    fifo: () => assert.equal(spawnSync("mkfifo", [path]).status, 0),
  };
  for (const size of SIZES)
    for (const [name, change] of Object.entries(changes)) {
      const content = await contentOf(size);
      if (name === "directory" || name === "fifo") renameSync(path, join(folder, "old"));
      change(size);
      await assert.rejects(content.read(0, size), isChanged, `${name}, ${size} bytes`);
      await assert.rejects(fill(content, size), isChanged, `${name}, ${size} bytes`);
      rmSync(path, { recursive: true });
    }
  const content = await contentOf(10);
  renameSync(path, join(folder, "old"));
  symlinkSync(join(folder, "old"), path); // a link is not followed, even to the file itself
  await assert.rejects(content.read(0, 10), isAshlarError);

  async function contentOf(size: number): Promise<Source> {
    writeFileSync(path, Buffer.alloc(size, "a"));
    const node = getNode(await readHostTree(root), fromUtf8("file"));
    assert.ok(node?.type === "file");
    assert.deepEqual(await node.content.read(size - 3, 3), new Uint8Array(3).fill(0x61));
    return node.content;
  }
});

async function fill(content: Source, size: number): Promise<void> {
  await content.readInto?.(0, new Uint8Array(size));
}

function isChanged(error: unknown): boolean {
  return isAshlarError(error) && error.code === "changed";
}
