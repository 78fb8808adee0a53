import assert from "node:assert/strict";
import { test } from "node:test";
import { copyFields, fromUtf8 } from "../../bytes/index.ts";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { bytesSource, memorySink } from "../../source/index.ts";
import { attributes, type Directory, directory, regularFile, symlink } from "../../tree/index.ts";
import { COMPAT, RawDirent, RawInodeCompact, RawSuperblock, RawXattrHeader, SUPERBLOCK_OFFSET } from "./format.ts";
import { checkErofs, dumpSpace, type ErofsImage, type ErofsInode, openErofs, writeErofs } from "./index.ts";
import { parseDirectoryBlock } from "./read-directory.ts";
import { filterBit } from "./xattr-filter.ts";

const name = fromUtf8;
const text = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => 97 + (((i * i * seed) >> 7) % 13));

function sample(): Directory {
  const xattrs = new Map([[name("user.x"), new Uint8Array(40)]]);
  return directory(attributes(0o755), [
    [name("a"), regularFile(attributes(0o644), bytesSource(text(300_000, 3)))],
    [name("b"), regularFile(attributes(0o644), bytesSource(text(200_000, 5)))],
    [name("dir"), directory(attributes(0o755), [[name("deep"), directory(attributes(0o755))]])],
    [name("link"), symlink(attributes(0o777), name("dir/deep"))],
    [name("x"), regularFile(attributes(0o644, { xattrs }), bytesSource(text(100, 7)))],
  ]);
}

async function imageOf(compressed: boolean): Promise<{ bytes: Uint8Array<ArrayBuffer>; image: ErofsImage }> {
  const sink = memorySink();
  const compression = { encoder: inlineClusterEncoder(), algorithm: "lz4", level: 1, clusterSize: 16_384 } as const;
  await writeErofs(sample(), sink, compressed ? { compression, tails: "blocks" } : { tails: "blocks" });
  const bytes = sink.bytes();
  return { bytes, image: await openErofs(bytesSource(bytes.slice())) };
}

async function inodeAt(image: ErofsImage, path: string): Promise<ErofsInode> {
  const inode = await image.lookup(path);
  assert.ok(inode, path);
  return inode;
}

async function found(bytes: Uint8Array): Promise<(readonly [string, string | undefined])[]> {
  const findings = await checkErofs(bytesSource(bytes));
  return findings.map(({ code, path }) => [code, path] as const);
}

test("sound images of ours have no finding, and every byte belongs to something", async () => {
  for (const compressed of [false, true]) {
    const { bytes, image } = await imageOf(compressed);
    assert.deepEqual(await checkErofs(bytesSource(bytes)), []);
    let end = 0;
    const { space, counts, contentBytes, problems } = await dumpSpace(image, {
      onRun({ start, size }) {
        assert.equal(start, end);
        end += size;
      },
    });
    assert.equal(end, bytes.length);
    assert.equal(
      space.reduce((sum, use) => sum + use.bytes, 0),
      bytes.length,
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(counts, { directory: 3, file: 3, symlink: 1 });
    assert.equal(contentBytes, 500_100);
    const kinds = space.map(({ kind }) => kind);
    assert.equal(kinds.includes("compressed data"), compressed);
    assert.ok(!kinds.includes("stray"));
  }
});

test("all that is broken is found, each thing with its path", async () => {
  const { bytes, image } = await imageOf(true);
  const [a, b, dir, link, x] = await Promise.all(["a", "b", "dir", "link", "x"].map((path) => inodeAt(image, path)));
  assert.ok(a && b && dir && link && x);
  // A cluster in the middle of a: its last literals become a match.
  const extents = [];
  for await (const extent of image.extents(a)) extents.push(extent);
  const cluster = extents[1]!;
  bytes.fill(0x1f, cluster.start + cluster.storedSize - 40, cluster.start + cluster.storedSize);
  // The map header of b promises what is not there.
  const layout = copyFields(RawInodeCompact, RawInodeCompact.view(bytes, b.position));
  bytes.set(RawInodeCompact.encode({ ...layout, format: 7 << 1 }), b.position);
  // The entry "deep" of dir leads nowhere.
  for await (const { start, size } of image.extents(dir)) {
    const index = parseDirectoryBlock(bytes.subarray(start, start + size), "dir").findIndex(
      (entry) => entry.name === "deep",
    );
    new DataView(bytes.buffer).setBigUint64(start + index * RawDirent.size, 2n ** 40n, true);
  }
  // The xattrs of x have more shared entries than fit.
  bytes[x.position + x.inodeSize + RawXattrHeader.fields.sharedCount.offset] = 200;
  // The link has no length.
  const target = copyFields(RawInodeCompact, RawInodeCompact.view(bytes, link.position));
  bytes.set(RawInodeCompact.encode({ ...target, fileSize: 0 }), link.position);
  const findings = await found(bytes);
  for (const wanted of [
    ["bad-compression", "/a"],
    ["inode-format", "/b"],
    ["nid-out-of-range", "/dir/deep"],
    ["bad-link", "/link"],
    ["truncated", "/x"],
  ] as const)
    assert.ok(
      findings.some(([code, path]) => code === wanted[0] && path === wanted[1]),
      `${wanted.join(" ")} in ${JSON.stringify(findings)}`,
    );
});

test("without decompression a broken cluster is not looked at", async () => {
  const { bytes, image } = await imageOf(true);
  for await (const { start, storedSize, encoding } of image.extents(await inodeAt(image, "a")))
    if (encoding === "lz4") bytes.fill(0xff, start, start + storedSize);
  assert.deepEqual(await checkErofs(bytesSource(bytes), { decompress: false }), []);
  assert.ok((await found(bytes)).every(([code, path]) => code === "bad-compression" && path === "/a"));
});

test("what readers do not mind is a warning, what misleads them an error", async () => {
  const { bytes, image } = await imageOf(false);
  const file = await inodeAt(image, "x");
  bytes[SUPERBLOCK_OFFSET + 120] = 1;
  bytes[file.position + RawInodeCompact.fields.nb.offset] = 3;
  for await (const { start, size } of image.extents(file)) bytes[start + size] = 1;
  const findings = await checkErofs(bytesSource(bytes));
  assert.deepEqual(
    findings.map(({ severity, code }) => [severity, code]),
    [
      ["error", "superblock-checksum"],
      ["warning", "reserved"],
      ["warning", "link-count"],
      ["warning", "padding"],
    ],
  );
});

test("a name filter that denies what is there", async () => {
  const { bytes, image } = await imageOf(false);
  const { position, inodeSize } = await inodeAt(image, "x");
  bytes[SUPERBLOCK_OFFSET + RawSuperblock.fields.featureCompat.offset]! |= COMPAT.xattrFilter;
  bytes[SUPERBLOCK_OFFSET + RawSuperblock.fields.featureCompat.offset]! &= ~COMPAT.superblockChecksum;
  const denying: number[] = [];
  for (let bit = 0; bit < 32; bit++) {
    new DataView(bytes.buffer).setUint32(position + inodeSize, 2 ** bit, true);
    const findings = await found(bytes);
    if (findings.length > 0) denying.push(bit);
    if (findings.length > 0) assert.deepEqual(findings, [["xattr-filter", "/x"]]);
  }
  assert.deepEqual(denying, [filterBit(name("user.x"))]);
  // The reader of one xattr goes by the filter too, and by nothing else where it says nothing.
  for (const bit of [filterBit(name("user.x")) ?? 0, ((filterBit(name("user.x")) ?? 0) + 1) % 32]) {
    new DataView(bytes.buffer).setUint32(position + inodeSize, 2 ** bit, true);
    const opened = await openErofs(bytesSource(bytes));
    const inode = await inodeAt(opened, "x");
    const value = await opened.xattr(inode, name("user.x"));
    assert.deepEqual(value, bit === denying[0] ? undefined : (await opened.xattrs(inode)).get(name("user.x")));
    assert.equal(await opened.xattr(inode, name("user.other")), undefined);
    assert.equal(await opened.xattr(await inodeAt(opened, ""), name("user.x")), undefined);
  }
});

test("extents without number over one table end in a finding, soon", async () => {
  // Every file says that its chunk table is the rest of the image.
  const files = Array.from({ length: 2000 }, (_, i) => {
    return [name(`f${i}`), regularFile(attributes(0o644), bytesSource(new Uint8Array(0)))] as const;
  });
  const sink = memorySink();
  await writeErofs(directory(attributes(0o755), files), sink);
  const bytes = sink.bytes();
  const image = await openErofs(bytesSource(bytes.slice()));
  for (const [file] of files) {
    const inode = await inodeAt(image, file);
    const raw = copyFields(RawInodeCompact, RawInodeCompact.view(bytes, inode.position));
    const chunks = Math.floor((bytes.length - inode.position - inode.inodeSize) / 4);
    bytes.set(RawInodeCompact.encode({ ...raw, format: 4 << 1, fileSize: chunks * 4096, u: 0 }), inode.position);
  }
  const findings = await checkErofs(bytesSource(bytes));
  assert.ok(findings.some(({ code }) => code === "overlapping-metadata"));
});
