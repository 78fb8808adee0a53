import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8 } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource, memorySink, readAll, type Source } from "../../source/index.ts";
import { attributes, type Directory, directory, regularFile, symlink, walkTree } from "../../tree/index.ts";
import { RawDirent, RawInodeCompact, RawInodeExtended, RawSuperblock, SUPERBLOCK_OFFSET } from "./format.ts";
import { checkErofs, dumpInodes, dumpSuperblock, openErofs, readTree, writeErofs } from "./index.ts";
import { parseDirectoryBlock } from "./read-directory.ts";
import { patternBytes, tree } from "./trees.test.ts";

const name = fromUtf8;

function sample(): Directory {
  const xattrs = new Map([[name("user.x"), new Uint8Array(40)]]);
  return directory(attributes(0o755, { xattrs }), [
    [name("dir"), directory(attributes(0o755), [[name("deep"), directory(attributes(0o755))]])],
    [name("file"), regularFile(attributes(0o644, { xattrs }), bytesSource(patternBytes(5000, 1)))],
    [name("link"), symlink(attributes(0o777), name("dir/deep"))],
    [name("old"), regularFile(attributes(0o644, { mtime: 7n }), bytesSource(patternBytes(100, 2)))],
  ]);
}

async function imageOf(root: Directory, tails: "blocks" | "inline" = "inline"): Promise<Uint8Array<ArrayBuffer>> {
  const sink = memorySink();
  await writeErofs(root, sink, { tails });
  return sink.bytes();
}

/** Opens whatever the bytes are and reads all of it: a value, or one of our errors. */
async function readEverything(bytes: Uint8Array, checksum: "verify" | "ignore"): Promise<"read" | "refused"> {
  try {
    const image = await openErofs(bytesSource(bytes), { checksum });
    dumpSuperblock(image);
    for await (const _ of dumpInodes(image)); // reads every inode
    for (const { path, node } of walkTree(await readTree(image)))
      if (node.type === "file" && node.content.size < 2 ** 24) await readAll(node.content, 2 ** 24, path);
    return "read";
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return "refused";
  }
}

test("lookup walks without following links", async () => {
  const image = await openErofs(bytesSource(await imageOf(sample())));
  assert.equal((await image.lookup(""))?.nid, image.root.nid);
  assert.equal((await image.lookup("/dir/deep/../../file"))?.size, 5000);
  assert.equal((await image.lookup("/../link"))?.type, "symlink");
  assert.equal(await image.lookup("link/x"), undefined);
  assert.equal(await image.lookup("dir/nothing"), undefined);
  const link = await image.lookup("link");
  assert.equal(link && (await image.readlink(link)), "dir/deep");
});

test("dump names every inode with its place", async () => {
  const image = await openErofs(bytesSource(await imageOf(sample())));
  const inodes = [];
  for await (const inode of dumpInodes(image)) inodes.push(inode);
  assert.deepEqual(
    inodes.map(({ path, inodeSize, layout, extents }) => [path, inodeSize, layout, extents.length]),
    [
      ["/", 32, "flat-inline", 1],
      ["/dir", 32, "flat-inline", 1],
      ["/dir/deep", 32, "flat-inline", 1],
      ["/file", 32, "flat-inline", 2],
      ["/link", 32, "flat-inline", 1],
      ["/old", 64, "flat-inline", 1],
    ],
  );
  assert.equal(dumpSuperblock(image).rootNid, 1);
});

test("a wrong superblock checksum is refused unless told otherwise, and found by check", async () => {
  const bytes = await imageOf(sample());
  bytes[2000] = 1; // between the superblock and the end of the first block
  await assert.rejects(openErofs(bytesSource(bytes)), (error) => error instanceof IntegrityError);
  await openErofs(bytesSource(bytes), { checksum: "ignore" });
  const codes = (await checkErofs(bytesSource(bytes))).map(({ code }) => code);
  assert.deepEqual(codes, ["superblock-checksum", "padding"]);
});

test("an image that is cut off, and what is no image", async () => {
  const bytes = await imageOf(sample());
  await assert.rejects(openErofs(bytesSource(bytes.subarray(0, bytes.length - 1))), /blocks/);
  await assert.rejects(openErofs(bytesSource(bytes.subarray(0, 1100))), FormatError);
  await assert.rejects(openErofs(bytesSource(new Uint8Array(8192))), /not an EROFS image/);
});

test("unknown incompatible features are refused by name", async () => {
  const bytes = await imageOf(sample());
  const { offset } = RawSuperblock.fields.featureIncompat;
  const view = new DataView(bytes.buffer);
  view.setUint32(SUPERBLOCK_OFFSET + offset, 0x80000380, true);
  await assert.rejects(openErofs(bytesSource(bytes)), (error) => {
    assert.ok(error instanceof UnsupportedError);
    assert.match(error.message, /: 0x200, 0x80000000$/);
    return true;
  });
});

/** Sets a directory entry's inode number: the first entry with this name. */
function retarget(bytes: Uint8Array<ArrayBuffer>, image: { start: number; size: number }, entry: string, nid: number) {
  const block = bytes.subarray(image.start, image.start + image.size);
  const index = parseDirectoryBlock(block, "test").findIndex((found) => found.name === entry);
  new DataView(bytes.buffer).setBigUint64(image.start + index * RawDirent.size, BigInt(nid), true);
}

test("a directory that leads to itself or to its parent ends in an error", async () => {
  for (const where of ["", "dir"]) {
    const bytes = await imageOf(sample());
    const image = await openErofs(bytesSource(bytes));
    const inode = await image.lookup(where);
    assert.ok(inode);
    const start = inode.position + inode.inodeSize + inode.xattrSize;
    retarget(bytes, { start, size: inode.size }, where === "" ? "dir" : "deep", image.root.nid);
    await assert.rejects(readTree(await openErofs(bytesSource(bytes))), (error) => {
      assert.ok(error instanceof FormatError);
      assert.equal(error.code, "directory-loop");
      return true;
    });
  }
});

test("many directories over the same data are refused before they fill the memory", async () => {
  const entries = new Map(
    Array.from({ length: 300 }, (_, i) => [name(`d${i}`), directory(attributes(0o755))] as const),
  );
  const big = directory(
    attributes(0o755),
    Array.from({ length: 2000 }, (_, i) => [
      name(`${"n".repeat(100)}${i}`),
      regularFile(attributes(0), bytesSource(new Uint8Array(0))),
    ]),
  );
  const bytes = await imageOf(directory(attributes(0o755), [...entries, [name("big"), big] as const]));
  const image = await openErofs(bytesSource(bytes));
  const source = await image.lookup("big");
  assert.ok(source);
  // Every small directory becomes a plain one over the blocks of the big one.
  const blocks = Math.floor(source.size / 4096) * 4096;
  for (const child of entries.keys()) {
    const inode = await image.lookup(child);
    assert.ok(inode && !inode.isExtended);
    const raw = RawInodeCompact.view(bytes, inode.position);
    bytes.set(RawInodeCompact.encode({ ...plain(raw), format: 0, fileSize: blocks, u: source.u }), inode.position);
  }
  await assert.rejects(readTree(await openErofs(bytesSource(bytes))), (error) => {
    assert.ok(error instanceof FormatError);
    assert.equal(error.code, "overlapping-metadata");
    return true;
  });
});

function plain<T extends object>(overlay: T): T {
  const values: Record<string, unknown> = {};
  for (const key in overlay) values[key] = overlay[key];
  return values as T;
}

test("any field of superblock, inodes and entries may hold anything: a value or one of our errors", async () => {
  const original = await imageOf(sample());
  const image = await openErofs(bytesSource(original));
  const spots: { at: number; size: number }[] = [];
  const add = (start: number, fields: Record<string, { offset: number; size: number }>): void => {
    for (const { offset, size } of Object.values(fields)) spots.push({ at: start + offset, size });
  };
  add(SUPERBLOCK_OFFSET, RawSuperblock.fields);
  for await (const { nid, inodeSize, extents, type, xattrSize } of dumpInodes(image)) {
    const { position } = await image.inode(nid);
    add(position, inodeSize === 64 ? RawInodeExtended.fields : RawInodeCompact.fields);
    for (let at = 0; at < xattrSize; at++) spots.push({ at: position + inodeSize + at, size: 1 });
    const run = extents[0];
    if (type === "directory" && run !== undefined)
      for (let at = run.start; at < run.start + run.size; at += RawDirent.size) add(at, RawDirent.fields);
  }
  let refused = 0;
  for (const { at, size } of spots)
    for (const value of [0n, 1n, 2n ** BigInt(size * 8 - 1), 2n ** BigInt(size * 8) - 1n, 64n, 4096n]) {
      const bytes = original.slice();
      for (let i = 0; i < Math.min(size, bytes.length - at); i++)
        bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
      if ((await readEverything(bytes, "ignore")) === "refused") refused++;
      await checkErofs(bytesSource(bytes));
    }
  assert.ok(refused > 100, `${refused} of ${spots.length * 6} refused`);
});

test("random damage gives a value or one of our errors", async () => {
  await fc.assert(
    fc.asyncProperty(tree, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 20 }), async (root, damage) => {
      const bytes = await imageOf(root);
      const meta = (await openErofs(bytesSource(bytes))).superblock.metaStart;
      for (const [at, value] of damage) bytes[meta + (at % (bytes.length - meta))] = value;
      await readEverything(bytes, "verify");
      await checkErofs(bytesSource(bytes));
    }),
    { numRuns: 300 },
  );
});

test("check finds what readers do not mind", async () => {
  const original = await imageOf(sample(), "blocks");
  const image = await openErofs(bytesSource(original));
  const found = async (change: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<string[]> => {
    const bytes = original.slice();
    change(bytes);
    return (await checkErofs(bytesSource(bytes))).map(({ code }) => code);
  };
  const at = async (path: string) => (await image.lookup(path))!.position;
  const file = await at("file");
  const dir = await at("dir");
  const old = await at("old");
  const { fields } = RawInodeCompact;
  assert.deepEqual(await found(() => {}), []);
  assert.deepEqual(await found((bytes) => bytes.set([2], file + fields.nb.offset)), ["link-count"]);
  assert.deepEqual(await found((bytes) => bytes.set([9], dir + fields.nb.offset)), ["link-count"]);
  assert.deepEqual(await found((bytes) => bytes.set([1], file + fields.reserved.offset)), ["reserved"]);
  assert.deepEqual(await found((bytes) => bytes.set([1], 4096 + 5000)), ["padding"]);
  const start = RawInodeExtended.view(original, old).u;
  assert.deepEqual(await found((bytes) => bytes.set([start - 1], old + RawInodeExtended.fields.u.offset)), [
    "overlap",
    "padding",
  ]);
});

test("a big directory is searched by a few blocks, not read whole", async () => {
  const empty = regularFile(attributes(0o644), bytesSource(new Uint8Array(0)));
  const entries = Array.from({ length: 60_000 }, (_, i) => [name(`${"e".repeat(60)}${i}`), empty] as const);
  const bytes = await imageOf(directory(attributes(0o755), entries));
  let read = 0;
  const counted: Source = {
    size: bytes.length,
    async read(offset, length) {
      read += length;
      return bytes.subarray(offset, offset + length);
    },
  };
  const image = await openErofs(counted);
  assert.ok(await image.lookup(`${"e".repeat(60)}31415`));
  assert.ok(read < bytes.length / 2, `${read} of ${bytes.length} bytes`);
});
