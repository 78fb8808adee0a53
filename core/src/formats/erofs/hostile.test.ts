// What a hostile image says, one lie at a time, and what each way of reading answers: an error with a place, or, where
// only a check can tell, a finding with a place. Never more time or memory than the image's own size explains.
import assert from "node:assert/strict";
import { test } from "node:test";
import { copyFields, fromUtf8 } from "../../bytes/index.ts";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource, memorySink, readAll } from "../../source/index.ts";
import { attributes, type Directory, directory, regularFile, symlink, walkTree } from "../../tree/index.ts";
import { RawDirent, RawInodeExtended, RawSuperblock, SUPERBLOCK_OFFSET } from "./format.ts";
import { RawMapHeader } from "./format-compressed.ts";
import { checkErofs, dumpInodes, dumpSpace, type ErofsImage, openErofs, readTree, writeErofs } from "./index.ts";
import { parseDirectoryBlock } from "./read-directory.ts";

const name = fromUtf8;
const BLOCK = 4096;
/** Bytes of content that are read of a file. */
const READ_LIMIT = 2 ** 22;

const text = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => 97 + (((i * i * seed) >> 7) % 13));

function sample(): Directory {
  const extended = { uid: 70_000 }; // more than a compact inode holds
  return directory(attributes(0o755), [
    [name("a"), regularFile(attributes(0o644, extended), bytesSource(text(5 * BLOCK, 3)))],
    [name("b"), regularFile(attributes(0o644, extended), bytesSource(text(5 * BLOCK, 5)))],
    [name("dir"), directory(attributes(0o755), [[name("deep"), directory(attributes(0o755))]])],
    [name("link"), symlink(attributes(0o777, extended), name("dir/deep"))],
  ]);
}

interface Target {
  readonly bytes: Uint8Array;
  readonly image: ErofsImage;
  /** Changes fields of the inode at `path`; all of them are extended but the directories. */
  inode(path: string, change: Partial<ReturnType<typeof RawInodeExtended.view>>): Promise<void>;
  superblock(change: Partial<ReturnType<typeof RawSuperblock.view>>): void;
  /** Lets the name `entry` of the directory at `path` mean another inode. */
  entry(path: string, entry: string, nid: number): Promise<void>;
}

async function target(compressed: boolean): Promise<Target> {
  const sink = memorySink();
  const compression = { encoder: inlineClusterEncoder(), algorithm: "lz4", level: 1, clusterSize: BLOCK } as const;
  const { size } = await writeErofs(sample(), sink, compressed ? { compression } : {});
  sink.setSize(size);
  const bytes = sink.bytes();
  const image = await openErofs(bytesSource(bytes.slice()));
  const find = async (path: string) => (await image.lookup(path)) ?? assert.fail(path);
  return {
    bytes,
    image,
    async inode(path, change) {
      const { position, isExtended } = await find(path);
      assert.ok(isExtended, path);
      const raw = copyFields(RawInodeExtended, RawInodeExtended.view(bytes, position));
      bytes.set(RawInodeExtended.encode({ ...raw, ...change }), position);
    },
    superblock(change) {
      const raw = copyFields(RawSuperblock, RawSuperblock.view(bytes, SUPERBLOCK_OFFSET));
      bytes.set(RawSuperblock.encode({ ...raw, ...change }), SUPERBLOCK_OFFSET);
    },
    async entry(path, entry, nid) {
      for await (const { start, size } of image.extents(await find(path))) {
        const index = parseDirectoryBlock(bytes.subarray(start, start + size), "test").findIndex(
          (found) => found.name === entry,
        );
        if (index >= 0) new DataView(bytes.buffer).setBigUint64(start + index * RawDirent.size, BigInt(nid), true);
      }
    },
  };
}

/** `ok`, or the code of the error, by each way of reading. */
interface Answers {
  readonly open: string;
  /** Names and attributes of all, without contents. */
  readonly walk: string;
  /** Contents of all files, as far as {@link READ_LIMIT}. */
  readonly read: string;
  readonly dump: string;
  /** Codes of errors and warnings, each once. */
  readonly check: readonly string[];
}

async function answer(way: () => Promise<unknown>): Promise<string> {
  try {
    await way();
    return "ok";
  } catch (error) {
    assert.ok(isAshlarError(error), `${error}`);
    assert.ok(!error.message.includes("\n"));
    const { offset, path, actual } = error.details;
    assert.ok(offset !== undefined || path !== undefined || actual !== undefined, `says no place: ${error.message}`);
    return error.code;
  }
}

async function ask(bytes: Uint8Array): Promise<Answers> {
  const source = bytesSource(bytes);
  const opened = await answer(() => openErofs(source, { checksum: "ignore" }));
  const findings = await checkErofs(source);
  for (const { offset, path, code } of findings) assert.ok(offset !== undefined || path !== undefined, code);
  const check = [...new Set(findings.map(({ code }) => code))].filter((code) => code !== "superblock-checksum").sort();
  if (opened !== "ok") return { open: opened, walk: opened, read: opened, dump: opened, check };
  const image = await openErofs(source, { checksum: "ignore" });
  const walk = await answer(() => readTree(image));
  const read = await answer(async () => {
    const tree = await readTree(image);
    for (const { node, path } of walkTree(tree))
      if (node.type === "file") {
        if (node.content.size <= READ_LIMIT) await readAll(node.content, READ_LIMIT, path);
        else for (const at of [0, node.content.size - BLOCK]) await node.content.read(at, BLOCK);
      }
  });
  const dump = await answer(async () => {
    await dumpSpace(image);
    for await (const _ of dumpInodes(image));
  });
  return { open: opened, walk, read, dump, check };
}

interface Lie {
  readonly compressed?: boolean;
  readonly tell: (target: Target) => unknown;
  readonly answers: Partial<Answers>;
}

const start = async ({ image }: Target, path: string): Promise<number> => {
  const inode = await image.lookup(path);
  for await (const extent of image.extents(inode ?? assert.fail(path))) return extent.start;
  return assert.fail(path);
};

/** LZ4: one literal, then a match that goes on for as long as there are bytes; or literals that are not there. */
const MORE = Uint8Array.from({ length: BLOCK }, (_, i) => [0x1f, 0x61, 1, 0][i] ?? 0xff);
const LESS = Uint8Array.from({ length: BLOCK }, (_, i) => (i < BLOCK - 3 ? 0 : [0x20, 0x61, 0x62][i - (BLOCK - 3)]!));

const LIES: Readonly<Record<string, Lie>> = {
  nothing: { tell: () => {}, answers: {} },
  "nothing, compressed": { compressed: true, tell: () => {}, answers: {} },
  "a directory in itself": {
    tell: (t) => t.entry("dir", "deep", t.image.root.nid),
    answers: {
      walk: "directory-loop",
      read: "directory-loop",
      dump: "directory-loop",
      check: ["directory-loop", "inode-count", "padding"],
    },
  },
  "the root in itself": {
    tell: (t) => t.entry("", "dir", t.image.root.nid),
    answers: {
      walk: "directory-loop",
      read: "directory-loop",
      dump: "directory-loop",
      check: ["directory-loop", "inode-count", "padding"],
    },
  },
  "an inode that is not there": {
    tell: (t) => t.entry("", "a", 2 ** 40),
    answers: {
      walk: "nid-out-of-range",
      read: "nid-out-of-range",
      dump: "nid-out-of-range",
      check: ["inode-count", "nid-out-of-range", "padding"],
    },
  },
  "an inode in the superblock": {
    tell: (t) => t.entry("", "a", 0),
    answers: { walk: "bad-mode", read: "bad-mode", dump: "bad-mode", check: ["bad-mode", "inode-count", "padding"] },
  },
  "data behind the end": {
    tell: (t) => t.inode("a", { u: 1000 }),
    answers: {
      walk: "data-out-of-range",
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["data-out-of-range", "padding"],
    },
  },
  "data that ends behind the end": {
    tell: (t) => t.inode("a", { u: t.bytes.length / BLOCK - 2 }),
    answers: {
      walk: "data-out-of-range",
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["data-out-of-range", "padding"],
    },
  },
  "data over metadata": {
    tell: (t) => t.inode("a", { u: t.bytes.length / BLOCK - 5 }),
    answers: { check: ["overlap", "padding"] },
  },
  "data over the superblock": { tell: (t) => t.inode("a", { u: 0 }), answers: { check: ["overlap", "padding"] } },
  "data over a part of other data": {
    tell: async (t) => t.inode("b", { u: (await start(t, "a")) / BLOCK + 1 }),
    answers: { check: ["overlap", "padding"] },
  },
  "data that is the whole of other data": {
    tell: async (t) => t.inode("b", { u: (await start(t, "a")) / BLOCK }),
    answers: { check: ["padding"] },
  },
  "a file past 2^53": {
    tell: (t) => t.inode("a", { fileSize: 2 ** 53 - 1 }),
    answers: {
      walk: "data-out-of-range",
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["data-out-of-range", "padding"],
    },
  },
  "a compressed file of 2^53 - 1 bytes": {
    compressed: true,
    tell: (t) => t.inode("a", { fileSize: 2 ** 53 - 1 }),
    answers: {
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["inode-count", "overlapping-metadata", "padding"],
    },
  },
  "a chunked file of 2^53 - 1 bytes": {
    tell: (t) => t.inode("a", { format: (4 << 1) | 1, fileSize: 2 ** 53 - 1, u: 0 }),
    answers: {
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["inode-count", "overlapping-metadata", "padding"],
    },
  },
  "a chunked file of 2^53 - 1 bytes in the largest chunks": {
    tell: (t) => t.inode("a", { format: (4 << 1) | 1, fileSize: 2 ** 53 - 1, u: 31 }),
    answers: {
      read: "data-out-of-range",
      dump: "data-out-of-range",
      check: ["data-out-of-range", "overlap", "padding"],
    },
  },
  "a link of no bytes": {
    tell: (t) => t.inode("link", { fileSize: 0 }),
    answers: { walk: "bad-link", read: "bad-link", check: ["bad-link", "padding"] },
  },
  "a link of 4096 bytes": {
    tell: (t) => t.inode("link", { fileSize: 4096 }),
    answers: {
      walk: "bad-link",
      read: "bad-link",
      dump: "inline-crosses-block",
      check: ["bad-link", "inline-crosses-block", "padding"],
    },
  },
  "a link of 2^53 - 1 bytes": {
    tell: (t) => t.inode("link", { fileSize: 2 ** 53 - 1 }),
    answers: {
      walk: "overlapping-metadata",
      read: "overlapping-metadata",
      dump: "overlapping-metadata",
      check: ["bad-link", "inline-crosses-block", "padding"],
    },
  },
  "a directory of 2^53 - 1 bytes": {
    tell: (t) => t.inode("a", { mode: 0o40755, fileSize: 2 ** 53 - 1 }),
    answers: {
      walk: "overlapping-metadata",
      read: "overlapping-metadata",
      dump: "overlapping-metadata",
      check: ["data-out-of-range", "directory-type", "inode-count", "overlapping-metadata", "padding"],
    },
  },
  "xattrs of 256 KiB": {
    tell: (t) => t.inode("a", { xattrICount: 0xffff }),
    answers: {
      walk: "overlapping-metadata",
      read: "overlapping-metadata",
      dump: "overlapping-metadata",
      check: ["inode-count", "overlap", "overlapping-metadata", "padding"],
    },
  },
  "a layout that is not there": {
    tell: (t) => t.inode("a", { format: (7 << 1) | 1 }),
    answers: {
      walk: "inode-format",
      read: "inode-format",
      dump: "inode-format",
      check: ["inode-count", "inode-format", "padding"],
    },
  },
  "a mode that is none": {
    tell: (t) => t.inode("a", { mode: 0o170644 }),
    answers: { walk: "bad-mode", read: "bad-mode", dump: "bad-mode", check: ["bad-mode", "inode-count", "padding"] },
  },
  "more blocks than there are": {
    tell: (t) => t.superblock({ blocksLo: 0xffffffff }),
    answers: { open: "truncated", walk: "truncated", read: "truncated", dump: "truncated", check: ["truncated"] },
  },
  "more inodes than there are": {
    tell: (t) => t.superblock({ inodeCount: 2 ** 53 - 1 }),
    answers: { check: ["inode-count"] },
  },
  "inodes behind the end": {
    tell: (t) => t.superblock({ metaBlock: 0xffffffff }),
    answers: {
      open: "nid-out-of-range",
      walk: "nid-out-of-range",
      read: "nid-out-of-range",
      dump: "nid-out-of-range",
      check: ["nid-out-of-range"],
    },
  },
  "shared xattrs behind the end": { tell: (t) => t.superblock({ xattrBlock: 0xffffffff }), answers: {} },
  "65535 devices": {
    tell: (t) => t.superblock({ featureIncompat: 8, extraDevices: 0xffff, deviceTableSlot: 0xffff }),
    answers: {
      open: "too-many-devices",
      walk: "too-many-devices",
      read: "too-many-devices",
      dump: "too-many-devices",
      check: ["too-many-devices"],
    },
  },
  "255 xattr prefixes": {
    tell: (t) => t.superblock({ featureIncompat: 0x40, xattrPrefixCount: 255, xattrPrefixStart: 0xffffffff }),
    answers: { check: ["bad-xattr-prefix"] },
  },
  "a root that is a file": {
    tell: async (t) => t.superblock({ rootNidOrBlocksHi: (await t.image.lookup("a"))!.nid }),
    answers: { open: "bad-root", walk: "bad-root", read: "bad-root", dump: "bad-root", check: ["bad-root"] },
  },
  "blocks of 2^255 bytes": {
    tell: (t) => t.superblock({ blockBits: 255 }),
    answers: {
      open: "bad-block-size",
      walk: "bad-block-size",
      read: "bad-block-size",
      dump: "bad-block-size",
      check: ["bad-block-size"],
    },
  },
  "clusters that yield more": {
    compressed: true,
    tell: async (t) => t.bytes.set(MORE, await start(t, "a")),
    answers: { read: "bad-compression", check: ["bad-compression"] },
  },
  "clusters that yield less": {
    compressed: true,
    tell: async (t) => t.bytes.set(LESS, await start(t, "a")),
    answers: { read: "bad-compression", check: ["bad-compression"] },
  },
  "clusters that are not there": {
    compressed: true,
    async tell(t) {
      const { position, inodeSize, xattrSize } = (await t.image.lookup("a"))!;
      const index = position + inodeSize + xattrSize + RawMapHeader.size;
      t.bytes.fill(0xff, index, index + 16);
    },
    answers: { read: "bad-index", dump: "bad-index", check: ["bad-index", "padding"] },
  },
};

for (const [what, { compressed = false, tell, answers }] of Object.entries(LIES))
  test(`a hostile image: ${what}`, async () => {
    const made = await target(compressed);
    await tell(made);
    const all: Answers = { open: "ok", walk: "ok", read: "ok", dump: "ok", check: [], ...answers };
    assert.deepEqual(await ask(made.bytes), all);
  });
