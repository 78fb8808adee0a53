// A part of a file costs what holds that part, counted by the source.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { bytesSource, memorySink, type Source } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../tree/index.ts";
import { type Extent, openErofs, writeErofs } from "./index.ts";

const SIZE = 40_000_000;
const PAGE = 4096;

/** Numbered lines, each its own: compresses to a third, and every place is known by what stands there. */
function lines(): Uint8Array {
  const text = new TextEncoder();
  const bytes = new Uint8Array(SIZE);
  for (let at = 0, i = 0; at < SIZE; i++) {
    const line = text.encode(`${i} ${((i * 2654435761) >>> 0).toString(16)} the quick brown fox\n`);
    bytes.set(line.subarray(0, SIZE - at), at);
    at += line.length;
  }
  return bytes;
}

function counted(bytes: Uint8Array): { source: Source; reads: [offset: number, size: number][] } {
  const plain = bytesSource(bytes);
  const reads: [number, number][] = [];
  const source: Source = {
    size: bytes.length,
    read(offset, size) {
      reads.push([offset, size]);
      return plain.read(offset, size);
    },
  };
  return { source, reads };
}

const content = lines();
const root = directory(attributes(0o755));
putNode(root, "large", regularFile(attributes(0o644), bytesSource(content)));

for (const clusterSize of [4096, 65_536, 1_048_576])
  test(`a page from the middle of 40 MB reads its cluster of at most ${clusterSize} bytes and no other`, async () => {
    const sink = memorySink();
    const compression = { encoder: inlineClusterEncoder(), algorithm: "lz4", level: 1, clusterSize } as const;
    await writeErofs(root, sink, { compression });
    const bytes = sink.bytes();
    assert.ok(bytes.length < SIZE / 1.5);
    const { source, reads } = counted(bytes);
    const image = await openErofs(source);
    const inode = await image.lookup("large");
    assert.ok(inode);
    for (const at of [SIZE / 2, 12_345_678, 33_000_001]) {
      const touched: Extent[] = [];
      for await (const extent of image.extents(inode, at)) {
        if (extent.at >= at + PAGE) break;
        touched.push(extent);
      }
      assert.ok(touched.length <= 2);
      reads.length = 0;
      const part = await image.content(inode).read(at, PAGE);
      assert.deepEqual(part, content.subarray(at, at + PAGE));
      const read = reads.reduce((sum, [, size]) => sum + size, 0);
      assert.equal(
        read,
        touched.reduce((sum, { storedSize }) => sum + storedSize, 0),
      );
      reads.length = 0;
      await image.content(inode).read(at + 100, PAGE - 100);
      assert.deepEqual(reads, [], "what was decompressed for a part is there for the next");
    }
  });

test("where data is not compressed, a part reads that part", async () => {
  const sink = memorySink();
  await writeErofs(root, sink);
  const { source, reads } = counted(sink.bytes());
  const image = await openErofs(source);
  const inode = await image.lookup("large");
  assert.ok(inode);
  reads.length = 0;
  assert.deepEqual(await image.content(inode).read(SIZE / 2, 100), content.subarray(SIZE / 2, SIZE / 2 + 100));
  assert.deepEqual(
    reads.map(([, size]) => size),
    [100],
  );
});
