// Images of mkfs.erofs 1.9, one for each way in which things can be stored (testdata/erofs/make.sh), against the tar that
// they were made from.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { fromUtf8, toHex } from "../../bytes/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import { type Directory, type Node, TYPE_BITS, walkTree } from "../../tree/index.ts";
import { readTar } from "../tar/index.ts";
import { type Extent, openErofs, readTree, walkErofs } from "./index.ts";

const FOLDER = join(import.meta.dirname, "../../../../testdata/erofs");

function unpacked(name: string): Uint8Array {
  return new Uint8Array(gunzipSync(readFileSync(join(FOLDER, name))));
}

const IMAGES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".erofs.gz"))
  .map((name) => name.replace(".erofs.gz", ""));

async function* tarEntries(): AsyncGenerator<readonly [path: string, line: string, content: Uint8Array]> {
  const bytes = unpacked("tree.tar.gz");
  async function* whole() {
    yield bytes;
  }
  for await (const { entry, content } of readTar(whole())) {
    const path = entry.path.replace(/^\.?\/?/, "").replace(/\/$/, "");
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(new Uint8Array(part));
    const data = new Uint8Array(Buffer.concat(parts));
    if (entry.type === "hardlink") continue;
    const line = showAttributes(entry.type, entry);
    yield [path, entry.type === "symlink" ? `${line} -> ${entry.linkTarget}` : line, data];
  }
}

function showAttributes(type: Node["type"], { mode, uid, gid, mtime, xattrs }: Omit<Node, "type">): string {
  const shown = [...xattrs].map(([name, value]) => `${name}=${toHex(value)}`).sort();
  return `${(TYPE_BITS[type] | mode).toString(8)} ${uid}:${gid} ${mtime} ${shown.join(" ")}`;
}

async function listing(root: Directory): Promise<Map<string, readonly [line: string, content: Uint8Array]>> {
  const list = new Map<string, readonly [string, Uint8Array]>();
  for (const { path, node } of walkTree(root)) {
    const line = showAttributes(node.type, node);
    const content = node.type === "file" ? await node.content.read(0, node.content.size) : new Uint8Array(0);
    list.set(path, [node.type === "symlink" ? `${line} -> ${node.target}` : line, content]);
  }
  return list;
}

for (const name of IMAGES)
  test(`${name}: what was put in is there`, async () => {
    const root = await readTree(await openErofs(bytesSource(unpacked(`${name}.erofs.gz`))));
    const found = await listing(root);
    let count = 0;
    for await (const [path, line, content] of tarEntries()) {
      assert.equal(found.get(path)?.[0], line, path);
      assert.deepEqual(found.get(path)?.[1], content, path);
      count++;
    }
    assert.equal(found.size, count + 1); // the hard link
    assert.equal(
      root.entries.get(fromUtf8("hard")),
      (root.entries.get(fromUtf8("dir")) as Directory).entries.get(fromUtf8("short")),
    );
  });

/** Kinds of extents of an image, without what differs from one to the next. */
async function kinds(name: string): Promise<Set<string>> {
  const image = await openErofs(bytesSource(unpacked(`${name}.erofs.gz`)));
  const found = new Set<string>();
  for await (const { inode } of walkErofs(image))
    for await (const { encoding, space, isInline, isPartial } of image.extents(inode))
      found.add([encoding, space, isInline ? "inline" : "", isPartial ? "partial" : ""].filter(Boolean).join(" "));
  return found;
}

test("the images hold what they are named after", async () => {
  const has = async (name: string, ...wanted: string[]): Promise<void> => {
    const found = await kinds(name);
    for (const kind of wanted) assert.ok(found.has(kind), `${name}: ${kind} is not among ${[...found].join(", ")}`);
  };
  await has("lz4-compact", "lz4 device", "plain device", "plain device inline");
  await has("lz4-tails", "lz4 device inline");
  await has("lz4-dedupe", "lz4 device partial");
  await has("lz4-fragments", "lz4 device", "fragment packed");
  await has("lzma", "microlzma device");
  await has("deflate-tails", "deflate device inline");
  await has("zstd-extents", "zstd device");
  await has("zstd-extents-fragments", "zstd device", "fragment packed");
  await has("zstd-metabox", "fragment packed", "plain metabox inline");
  await has("chunks", "hole none", "plain device");
});

test("any part of a file is as in the whole, and no cluster is read that it does not touch", async () => {
  for (const name of IMAGES) {
    const { source, reads } = recorded(unpacked(`${name}.erofs.gz`));
    const image = await openErofs(source);
    for await (const { inode, path, isKnown } of walkErofs(image)) {
      if (inode.type !== "file" || isKnown || inode.size === 0) continue;
      const content = image.content(inode);
      const whole = await content.read(0, inode.size);
      const extents: Extent[] = [];
      for await (const extent of image.extents(inode)) extents.push(extent);
      for (let at = 0; at < inode.size; at += 3001) {
        const length = Math.min(700, inode.size - at);
        reads.length = 0; // metadata is remembered by now
        const part = await content.read(at, length);
        assert.deepEqual(part, whole.subarray(at, at + length), `${name}: ${path} at ${at}`);
        const touched = extents.filter((extent) => extent.at < at + length && extent.at + extent.size > at);
        if (touched.some(({ space }) => space === "packed")) continue; // its clusters are another file's
        for (const { offset, size } of reads) {
          const stored = touched.filter(
            ({ start, storedSize }) => offset < start + storedSize && start < offset + size,
          );
          const sum = stored.reduce((bytes, { storedSize }) => bytes + storedSize, 0);
          assert.ok(size <= sum, `${name}: ${path}: ${size} bytes at ${offset}, of which ${sum} are asked for`);
        }
      }
    }
  }
});

function recorded(bytes: Uint8Array): { source: Source; reads: { offset: number; size: number }[] } {
  const plain = bytesSource(bytes);
  const reads: { offset: number; size: number }[] = [];
  const source: Source = {
    size: bytes.length,
    read(offset, size) {
      reads.push({ offset, size });
      return plain.read(offset, size);
    },
  };
  return { source, reads };
}
