// EROFS images.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { alignUp, copyFields, crc32cRegister, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import { inlineClusterEncoder } from "../../../core/src/codecs/index.ts";
import { isAshlarError } from "../../../core/src/errors/index.ts";
import {
  checksummedSize,
  FORMAT_EXTENDED,
  RawChunkIndex,
  RawDeviceSlot,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawSuperblockExtension,
  RawXattrEntry,
  RawXattrHeader,
  SUPERBLOCK_OFFSET,
} from "../../../core/src/formats/erofs/format.ts";
import {
  RawClusterIndex,
  RawEncodedExtent,
  RawExtentsHeader,
  RawMapHeader,
} from "../../../core/src/formats/erofs/format-compressed.ts";
import {
  checkErofs,
  dumpInodes,
  dumpSpace,
  dumpSuperblock,
  type ErofsInode,
  openErofs,
  readTree,
  walkErofs,
  writeErofs,
} from "../../../core/src/formats/erofs/index.ts";
import { chunkTableStart } from "../../../core/src/formats/erofs/map-flat.ts";
import { mapHeaderStart } from "../../../core/src/formats/erofs/map-header.ts";
import { loadFrameMaker } from "../../../core/src/node/zstd-frame-maker.ts";
import { compareTrees, surveyTree } from "../../../core/src/ops/diff/compare.ts";
import { bytesSource, memorySink } from "../../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  deviceNode,
  directory,
  regularFile,
  symlink,
} from "../../../core/src/tree/index.ts";
import { WRITER_SETS, writerOptions } from "../../support/erofs-writers.ts";
import { type Placement, seededRandom } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { at, b, binary, every, file, readFiles, type Seed, shape, treeOf } from "./common.ts";

const GOLDEN = join(import.meta.dirname, "../../../testdata/erofs");

async function erofsImage(tree: Directory, blockSize: number, tails: "blocks" | "inline"): Promise<Uint8Array> {
  const sink = memorySink();
  const { size } = await writeErofs(tree, sink, { blockSize, tails });
  sink.setSize(size);
  return sink.bytes();
}

function erofsTree(): Directory {
  const xattrs = new Map([
    [b("user.a"), encodeUtf8("value")],
    [b("security.capability"), new Uint8Array(20).fill(2)],
  ]);
  const hard = file("two names\n");
  const withXattrs = regularFile(attributes(0o600, { uid: 70_000, mtime: -7n, xattrs }), bytesSource(encodeUtf8("x")));
  return treeOf({
    "etc/motd": regularFile(attributes(0o644, { xattrs }), bytesSource(encodeUtf8("hello\n"))),
    "etc/also": withXattrs,
    "usr/bin/tool": file(new Uint8Array(5000).fill(7), 0o755),
    "usr/bin/other": hard,
    "usr/bin/another": hard,
    "usr/empty": "",
    "usr/link": symlink(attributes(0o777), b("../etc/motd")),
    "dev/null": deviceNode("character", attributes(0o666), 1, 3),
    chunks: RawChunkIndex.encode({ blockHi: 0, deviceId: 0, block: 1 }),
    ...Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`many/a name of some length ${i}`, ""])),
  });
}

async function erofsSeed(bytes: Uint8Array): Promise<Seed> {
  const image = await openErofs(bytesSource(bytes));
  const placements = [at(RawSuperblock, SUPERBLOCK_OFFSET)];
  for await (const { inode, isKnown, name } of walkErofs(image)) {
    if (isKnown || name.startsWith("a name of some length 1")) continue;
    placements.push(at(inode.isExtended ? RawInodeExtended : RawInodeCompact, inode.position));
    const xattrs = inode.position + inode.inodeSize;
    if (inode.xattrSize > 0)
      placements.push(at(RawXattrHeader, xattrs), at(RawXattrEntry, xattrs + RawXattrHeader.size));
    if (inode.type !== "directory") continue;
    for await (const { start } of image.extents(inode)) placements.push(...every(RawDirent, start, 4));
  }
  // A file of one chunk: what it holds is its own chunk table.
  const chunked = new Uint8Array(bytes);
  const inode = await image.lookup("chunks");
  if (inode?.layout === "flat-inline" && !inode.isExtended) {
    const { blockSize } = image.superblock;
    const raw = copyFields(RawInodeCompact, RawInodeCompact.view(chunked, inode.position));
    const changed = { ...raw, format: (raw.format & FORMAT_EXTENDED) | (4 << 1), fileSize: blockSize - 100, u: 0x20 };
    chunked.set(RawInodeCompact.encode(changed), inode.position);
  }
  return { bytes: chunked, placements, repair: repairErofs };
}

function repairErofs(bytes: Uint8Array): void {
  if (bytes.length < SUPERBLOCK_OFFSET + RawSuperblock.size) return;
  const { blockBits } = RawSuperblock.view(bytes, SUPERBLOCK_OFFSET);
  const covered = bytes.slice(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + checksummedSize(2 ** (blockBits % 20)));
  const { offset } = RawSuperblock.fields.checksum;
  covered.fill(0, offset, offset + 4);
  new DataView(bytes.buffer).setUint32(SUPERBLOCK_OFFSET + offset, crc32cRegister(covered, 0xffffffff), true);
}

/** Images of mkfs.erofs with everything that ours do not have; the fields of their maps are set to what they must not hold. */
async function goldenSeeds(): Promise<Seed[]> {
  return Promise.all(
    readdirSync(GOLDEN)
      .filter((name) => name.endsWith(".erofs.gz"))
      .map(async (name) => {
        const seed = await erofsSeed(new Uint8Array(gunzipSync(readFileSync(join(GOLDEN, name)))));
        return { ...seed, placements: [...seed.placements, ...(await mapPlacements(seed.bytes))] };
      }),
  );
}

/** Map headers, and the first entries behind them under each of the forms that they may have. */
async function mapPlacements(bytes: Uint8Array): Promise<Placement[]> {
  const image = await openErofs(bytesSource(bytes));
  const { metaboxNid, packedNid, deviceCount } = image.superblock;
  const inodes: ErofsInode[] = [];
  for await (const { inode } of walkErofs(image)) if (inode.type === "file" && inode.size > 4096) inodes.push(inode);
  for (const nid of [metaboxNid, packedNid]) if (nid !== undefined) inodes.push(await image.inode(nid));
  const placements: Placement[] = [at(RawSuperblockExtension, SUPERBLOCK_OFFSET + RawSuperblock.size)];
  for (const inode of inodes) {
    if (inode.isInMetabox) continue; // its bytes are compressed
    placements.push(at(inode.isExtended ? RawInodeExtended : RawInodeCompact, inode.position));
    if (inode.layout === "chunk-based") placements.push(...every(RawChunkIndex, chunkTableStart(inode), 4));
    if (!inode.layout.startsWith("compressed")) continue;
    const header = mapHeaderStart(inode);
    placements.push(at(RawMapHeader, header), at(RawExtentsHeader, header));
    const end = header + RawMapHeader.size;
    placements.push(...every(RawClusterIndex, end, 6), ...every(RawEncodedExtent, alignUp(end, 32), 2));
  }
  if (deviceCount > 0) placements.push(at(RawDeviceSlot, image.superblock.deviceTableStart));
  return placements;
}

async function erofsSeeds(): Promise<Seed[]> {
  const shapes = [
    [512, "inline"],
    [4096, "inline"],
    [4096, "blocks"],
  ] as const;
  return Promise.all(shapes.map(async ([size, tails]) => erofsSeed(await erofsImage(erofsTree(), size, tails))));
}

/** Directories within directories, and files at the bottom. With long names every path has 100 kB. */
async function deepErofs(depth: number, nameSize: number): Promise<Uint8Array> {
  let tree: Directory = directory(attributes(0o755));
  for (let i = 0; i < 1000; i++) tree.entries.set(b(`f${i}`), file(""));
  for (let i = 0; i < depth; i++) tree = directory(attributes(0o755), [[b("d".repeat(nameSize)), tree]]);
  return erofsImage(tree, 4096, "inline");
}

/** What {@link WRITER_SETS} writes. */
async function ownSeeds(): Promise<Seed[]> {
  const words = new Uint8Array(150_000).map((_, i) => 97 + (((i * i) >> 7) % 13));
  const tree = treeOf({
    "etc/motd": words.subarray(0, 9000),
    "usr/bin/tool": words,
    "usr/noise": seededRandom("noise").bytes(20_000),
    "usr/zeros": new Uint8Array(70_000),
    "usr/link": symlink(attributes(0o777), b("../etc/motd")),
  });
  const seeds: Seed[] = [];
  for (const set of WRITER_SETS) {
    if (set.compression === undefined && set.chunkSize === undefined) continue;
    const sink = memorySink();
    const { size } = await writeErofs(tree, sink, writerOptions(set, inlineClusterEncoder(loadFrameMaker)));
    sink.setSize(size);
    const seed = await erofsSeed(sink.bytes());
    seeds.push({ ...seed, placements: [...seed.placements, ...(await mapPlacements(seed.bytes))] });
  }
  return seeds;
}

/** Small images in which every file claims what would take the machine: `change` says what an inode says then. */
async function claiming(
  files: number,
  change: (
    raw: ReturnType<typeof plainCompact>,
    position: number,
    image: Uint8Array,
  ) => Partial<ReturnType<typeof plainCompact>>,
): Promise<Uint8Array> {
  const names = Array.from({ length: files }, (_, i) => [`f${i}`, `${i}`.padStart(70, "x")] as const);
  const bytes = await erofsImage(treeOf(Object.fromEntries(names)), 4096, "inline");
  const image = await openErofs(bytesSource(bytes.slice()));
  for (const [name] of names) {
    const inode = await image.lookup(name);
    if (inode === undefined || inode.isExtended) throw new TypeError("a seed without compact inodes");
    const raw = plainCompact(bytes, inode.position);
    bytes.set(RawInodeCompact.encode({ ...raw, ...change(raw, inode.position, bytes) }), inode.position);
  }
  repairErofs(bytes);
  return bytes;
}

const plainCompact = (bytes: Uint8Array, position: number) =>
  copyFields(RawInodeCompact, RawInodeCompact.view(bytes, position));

/** Bits 1 to 3 of an inode's format. */
const FULL = 1;
const CHUNKS = 4;

async function* claims() {
  const table = (position: number, image: Uint8Array) => Math.floor((image.length - position - 64) / 4);
  yield shape(
    "one chunk table for all files",
    await claiming(2000, (_, position, image) => ({
      format: CHUNKS << 1,
      fileSize: Math.min(table(position, image) * 4096, 0xffffffff),
      u: 0,
    })),
  );
  yield shape(
    "files of 4 GiB in one chunk each",
    await claiming(500, () => ({ format: CHUNKS << 1, fileSize: 0xffffffff, u: 31 })),
  );
  yield shape(
    "one index for all files",
    await claiming(2000, (_, position, image) => ({
      format: FULL << 1,
      fileSize: Math.min(Math.floor((image.length - position) / 8) * 4096, 0xffffffff),
      u: 0,
    })),
  );
  yield shape("files of 4 GiB", await claiming(500, () => ({ format: 0, fileSize: 0xffffffff, u: 1 })));
  yield shape("links of 4 GiB", await claiming(500, () => ({ format: 0, mode: 0o120777, fileSize: 0xffffffff, u: 1 })));
  yield shape(
    "directories of 4 GiB",
    await claiming(500, () => ({ format: 0, mode: 0o40755, fileSize: 0xffffffff, u: 0 })),
  );
  yield shape(
    "directories over the image",
    await claiming(500, (_, _position, image) => ({ format: 0, mode: 0o40755, fileSize: image.length, u: 0 })),
  );
  yield shape("xattrs past the image", await claiming(500, () => ({ xattrICount: 0xffff })));
}

/** Reads an image as far as anybody would, in every way, whatever the other ways say. */
async function readImage(bytes: Uint8Array): Promise<void> {
  const source = bytesSource(bytes);
  await checkErofs(source);
  const image = await openErofs(source, { checksum: "ignore" });
  dumpSuperblock(image);
  const ways: readonly (() => Promise<unknown>)[] = [
    () => dumpSpace(image),
    async () => {
      for await (const _ of dumpInodes(image));
    },
    () => image.lookup("usr/bin/tool"),
    async () => {
      const tree = await readTree(image);
      await readFiles(tree);
      for await (const _ of compareTrees(surveyTree(tree, "a"), surveyTree(treeOf({}), "b")));
    },
  ];
  const errors: unknown[] = [];
  for (const way of ways)
    try {
      await way();
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      errors.push(error);
    }
  if (errors.length > 0) throw errors[0];
}

export const EROFS_PARSERS: readonly Parser[] = [
  {
    name: "EROFS",
    mutants: binary(erofsSeeds),
    async *shapes() {
      yield shape("long paths", await deepErofs(400, 250));
      yield shape("deep directories", await deepErofs(2000, 1));
    },
    read: readImage,
  },
  { name: "EROFS, compressed", mutants: binary(goldenSeeds), shapes: claims, read: readImage },
  { name: "EROFS, our own compressed", mutants: binary(ownSeeds), read: readImage },
];
