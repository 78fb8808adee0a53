/** What a writer may be told about where data goes: chunks and holes, other methods for some files, an order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, fromUtf8 } from "../../bytes/index.ts";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { loadFrameMaker } from "../../node/zstd-frame-maker.ts";
import { bytesSource, memorySink, type Source } from "../../source/index.ts";
import { attributes, type Directory, directory, type Node, regularFile } from "../../tree/index.ts";
import {
  type Compression,
  checkErofs,
  type ErofsImage,
  openErofs,
  readTree,
  type WriteErofsOptions,
  writeErofs,
} from "./index.ts";
import { describeTree, patternBytes, tree } from "./trees.test.ts";

const encoder = inlineClusterEncoder(loadFrameMaker);
const file = (content: Source | Uint8Array): Node =>
  regularFile(attributes(0o644), content instanceof Uint8Array ? bytesSource(content) : content);
const root = (entries: Record<string, Node>): Directory =>
  directory(
    attributes(0o755),
    Object.entries(entries).map(([name, node]) => [fromUtf8(name), node] as const),
  );

async function written(original: Directory, options: WriteErofsOptions): Promise<ErofsImage> {
  const sink = memorySink();
  await writeErofs(original, sink, options);
  const source = bytesSource(sink.bytes());
  const image = await openErofs(source);
  assert.deepEqual(await describeTree(await readTree(image)), await describeTree(original));
  assert.deepEqual(await checkErofs(source), []);
  return image;
}

async function extentsOf(image: ErofsImage, path: string) {
  const inode = await image.lookup(path);
  assert.ok(inode);
  const list = [];
  for await (const extent of image.extents(inode)) list.push(extent);
  return { inode, list };
}

/** Zeros, and parts that come again, cut anywhere. */
const patchy = fc
  .array(
    fc.tuple(fc.integer({ min: 1, max: 30_000 }), fc.constantFrom(0, 0, 1, 2)).map(([size, kind]) => {
      const part = patternBytes(size, kind);
      return kind === 0 ? part.fill(0) : part;
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) => new Uint8Array(Buffer.concat(parts)));

test("tree → image in chunks → tree is the identity, and the image has no findings", async () => {
  await fc.assert(
    fc.asyncProperty(
      tree,
      fc.array(patchy, { maxLength: 4 }),
      fc.constantFrom(4096, 8192, 65536, 1048576),
      fc.constantFrom("blocks" as const, "inline" as const),
      async (original, contents, chunkSize, tails) => {
        for (const [i, bytes] of contents.entries()) original.entries.set(fromUtf8(`content ${i}`), file(bytes));
        await written(original, { chunkSize, tails });
      },
    ),
    { numRuns: 60 },
  );
});

test("a gigabyte of holes takes no blocks, and what is known as a hole is not read", async () => {
  const size = 2 ** 30;
  let read = 0;
  const sparse: Source = {
    size,
    async read(offset, length) {
      read += length;
      const bytes = new Uint8Array(length);
      if (offset <= 2 ** 29 && 2 ** 29 < offset + length) bytes[2 ** 29 - offset] = 1;
      return bytes;
    },
    dataFrom: (offset) => (offset <= 2 ** 29 ? 2 ** 29 : size),
  };
  const sink = memorySink();
  const { size: imageSize } = await writeErofs(root({ sparse: file(sparse) }), sink, { chunkSize: 65536 });
  assert.ok(imageSize < 250_000, `${imageSize} bytes`);
  assert.ok(read <= 2 ** 20, `${read} bytes were read`);
  const image = await openErofs(bytesSource(sink.bytes()));
  const { inode, list } = await extentsOf(image, "sparse");
  assert.equal(inode.layout, "chunk-based");
  assert.equal(list.filter(({ encoding }) => encoding !== "hole").length, 1);
  assert.deepEqual(await image.content(inode).read(2 ** 29 - 1, 3), Uint8Array.of(0, 1, 0));
});

test("equal chunks are stored once, in one file and over files", async () => {
  const one = patternBytes(65536, 1);
  const two = patternBytes(65536, 2);
  const size = async (contents: Uint8Array[]): Promise<number> => {
    const entries = Object.fromEntries(contents.map((content, i) => [`f${i}`, file(content)]));
    return (await written(root(entries), { chunkSize: 65536 })).source.size;
  };
  const both = new Uint8Array(Buffer.concat([two, one, one, two]));
  assert.equal(await size([one, both, two]), await size([one, two]));
});

test("an image without holes or equal chunks is the one that is not cut into chunks", async () => {
  const tree = root({ a: file(patternBytes(100_000, 1)), b: file(patternBytes(4097, 2)), c: file(patternBytes(3, 3)) });
  const bytes = async (options: WriteErofsOptions): Promise<Uint8Array> => {
    const sink = memorySink();
    await writeErofs(tree, sink, options);
    return sink.bytes();
  };
  assert.deepEqual(await bytes({ chunkSize: 65536 }), await bytes({}));
});

const text = (size: number, seed: number): Uint8Array =>
  patternBytes(size, seed).map((_, i) => (Math.imul((i >> 4) + seed * 77_777, 2654435761) >>> 29) + 97);

test("some files get another method or none; the superblock names all that are there", async () => {
  const zstd = { algorithm: "zstd", level: 3, clusterSize: 65536 } as const;
  const packed = { ...zstd, packing: "bytes" } as const;
  const compression: Compression = {
    algorithm: "lz4",
    level: 1,
    clusterSize: 4096,
    encoder,
    hints: {
      methods: [zstd, packed],
      choose: (path) => (path === "raw" ? "none" : path === "zstd" ? zstd : path === "packed" ? packed : undefined),
    },
  };
  const names = ["lz4", "packed", "raw", "zstd"];
  const image = await written(root(Object.fromEntries(names.map((name, i) => [name, file(text(300_000, i))]))), {
    compression,
  });
  const encodings = await Promise.all(names.map(async (name) => (await extentsOf(image, name)).list[0]?.encoding));
  assert.deepEqual(encodings, ["lz4", "zstd", "plain", "zstd"]);
});

test("data of some files comes first, in the order that is given, by any of their names", async () => {
  const b = file(patternBytes(5000, 2));
  const original = root({ a: file(patternBytes(1, 1)), b, c: file(patternBytes(1, 3)), z: b });
  const c = original.entries.get("c" as ByteString)!; // just made
  for (const options of [{}, { compression: { algorithm: "lz4", level: 1, clusterSize: 4096, encoder } }] as const) {
    const image = await written(original, { ...options, first: [c, b, original, c] });
    const at = async (path: string): Promise<number> => (await extentsOf(image, path)).list[0]?.start ?? 0;
    const places = { a: await at("a"), b: await at("b"), c: await at("c"), z: await at("z") };
    assert.ok(places.c < places.b && places.b < places.a && places.z === places.b, JSON.stringify(places));
  }
});
