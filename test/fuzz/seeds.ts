// Small sound inputs of every binary format, with the places of their structures.
import {
  type ByteString,
  byteString,
  concatBytes,
  crc32,
  crc32cRegister,
  defineStruct,
  encodeUtf8,
  fromUtf8,
  le,
} from "../../core/src/bytes/index.ts";
import { encodeCpio, parseCpio, RawCpioHeader } from "../../core/src/formats/cpio/index.ts";
import { IDENT_SIZE, RawIdent, TABLES } from "../../core/src/formats/elf/format.ts";
import { type SampleElf, sampleElf } from "../../core/src/formats/elf/sample.ts";
import {
  checksummedSize,
  FORMAT_EXTENDED,
  RawChunkIndex,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawXattrEntry,
  RawXattrHeader,
  SUPERBLOCK_OFFSET,
} from "../../core/src/formats/erofs/format.ts";
import { flatRuns, openErofs, walkErofs, writeErofs } from "../../core/src/formats/erofs/index.ts";
import { RawBootSector, RawEntry, RawInfoSector, RawLongName } from "../../core/src/formats/fat/format.ts";
import { fatSource, planFat } from "../../core/src/formats/fat/index.ts";
import { encodeGpt, partitionType, RawGptEntry, RawGptHeader, RawMbr } from "../../core/src/formats/gpt/index.ts";
import {
  encodeRecipe,
  packWriter,
  RawLeavesHeader,
  RawPackEntry,
  RawRecipeHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
  readPackShape,
} from "../../core/src/formats/pack/index.ts";
import {
  copyFields,
  RawDataDirectory,
  RawDebugEntry,
  RawDosHeader,
  RawFileHeader,
  RawOptionalHeader,
  RawSectionHeader,
} from "../../core/src/formats/pe/format.ts";
import { RawGnuTail, RawHeader } from "../../core/src/formats/tar/format.ts";
import { encodeTar, encodeTarHeader, TAR_END } from "../../core/src/formats/tar/index.ts";
import { headerChecksums } from "../../core/src/formats/tar/numbers.ts";
import { encodePaxRecord } from "../../core/src/formats/tar/pax.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { createFrameCompressor, nodeHashes } from "../../core/src/node/index.ts";
import { bytesSource, forwardSink, memorySink } from "../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  deviceNode,
  directory,
  type Node,
  putNode,
  regularFile,
  symlink,
} from "../../core/src/tree/index.ts";
import type { Placement, Table } from "../support/mutate.ts";

export interface Seed {
  readonly bytes: Uint8Array;
  readonly placements: readonly Placement[];
  /** Makes checksums right again, in place, so that a changed input is judged by what it says. */
  repair?(bytes: Uint8Array): void;
}

const b = (text: string): ByteString => fromUtf8(text);
const at = (struct: Table, offset: number): Placement => ({ struct, offset });
const every = (struct: Table, start: number, count: number): Placement[] =>
  Array.from({ length: count }, (_, i) => at(struct, start + i * struct.size));
const pad = (bytes: Uint8Array, to: number): Uint8Array => concatBytes(bytes, new Uint8Array(-bytes.length & (to - 1)));
export const file = (content: string | Uint8Array, mode = 0o644): Node =>
  regularFile(attributes(mode), bytesSource(typeof content === "string" ? encodeUtf8(content) : content));

export function treeOf(nodes: Readonly<Record<string, Node | string | Uint8Array>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, node] of Object.entries(nodes))
    putNode(root, b(path), typeof node === "string" || node instanceof Uint8Array ? file(node) : node);
  return root;
}

// tar

function sealHeader(bytes: Uint8Array, offset: number): void {
  const sum = headerChecksums(bytes.subarray(offset, offset + 512)).unsigned;
  bytes.set(encodeUtf8(`${sum.toString(8).padStart(6, "0")}\0 `), offset + RawHeader.fields.chksum.offset);
}

/** Offsets of the blocks that look like headers. */
function tarHeaders(bytes: Uint8Array): number[] {
  const found: number[] = [];
  for (let offset = 0; offset + 512 <= bytes.length; offset += 512)
    if (byteString(bytes.subarray(offset + 257, offset + 262)) === "ustar") found.push(offset);
  return found;
}

function tarSeed(bytes: Uint8Array, isGnu = false): Seed {
  const headers = tarHeaders(bytes);
  return {
    bytes,
    placements: headers.flatMap((offset) => [
      at(RawHeader, offset),
      ...(isGnu ? [at(RawGnuTail, offset + RawHeader.fields.prefix.offset)] : []),
    ]),
    repair(mutant) {
      for (const offset of tarHeaders(mutant)) sealHeader(mutant, offset);
    },
  };
}

type Flag = "x" | "g" | "L" | "S" | "0";

/** A member whose header says what our writer never would. */
function rawMember(flag: Flag, path: string, body: Uint8Array, isGnu = flag === "L" || flag === "S"): Uint8Array {
  const header = encodeTarHeader({ path: b(path), type: "file", size: body.length });
  header.set(encodeUtf8(flag), RawHeader.fields.typeflag.offset);
  if (isGnu) header.set(encodeUtf8("ustar  \0"), RawHeader.fields.magic.offset);
  sealHeader(header, 0);
  return concatBytes(header, pad(body, 512));
}

export function encodeRecords(records: readonly (readonly [key: string, value: string])[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records.map(([key, value]) => encodePaxRecord(b(key), encodeUtf8(value)))));
}

/** A PAX header before a file of four bytes; a `g` header counts for a second file too. */
export function paxArchive(records: Uint8Array, flag: "x" | "g"): Uint8Array {
  const some = encodeUtf8("1\n2\n"); // the start of a sparse map too
  return concatBytes(rawMember(flag, "pax", records), rawMember("0", "a", some), rawMember("0", "b", some), TAR_END);
}

export function tarSeeds(): Seed[] {
  const gnu = rawMember("S", "sparse", encodeUtf8("abc"));
  gnu.set(encodeUtf8("00000000000\x0000000000003\0"), 345 + RawGnuTail.fields.sparse.offset);
  gnu.set(encodeUtf8("00000000100\0"), 345 + RawGnuTail.fields.realsize.offset);
  sealHeader(gnu, 0);
  const sparse = encodeRecords([
    ["GNU.sparse.major", "1"],
    ["GNU.sparse.minor", "0"],
    ["GNU.sparse.name", "real"],
    ["GNU.sparse.realsize", "99"],
  ]);
  const xattrs = new Map([[b("user.x"), new Uint8Array(9)]]);
  const plain = encodeTar([
    { path: b("a"), type: "file", content: encodeUtf8("content\n") },
    { path: b("b".repeat(120)), type: "file", content: new Uint8Array(600), mtime: -5n, xattrs },
    { path: b("d"), type: "directory" },
    { path: b("l"), type: "hardlink", linkTarget: b("a") },
    { path: b("s"), type: "symlink", linkTarget: b("d/..") },
    { path: b("n"), type: "character", devMajor: 1, devMinor: 3 },
  ]);
  return [
    tarSeed(plain),
    tarSeed(concatBytes(gnu, TAR_END), true),
    tarSeed(
      concatBytes(
        rawMember("x", "x", sparse),
        rawMember("0", "s", encodeUtf8(`${"1\n9\n3\n".padEnd(512, "\0")}abc`)),
        TAR_END,
      ),
    ),
    tarSeed(
      concatBytes(
        rawMember("g", "g", encodeRecords([["uid", "1"]])),
        rawMember("L", "L", encodeUtf8("long\0")),
        rawMember("0", "f", encodeUtf8("x")),
        TAR_END,
      ),
      true,
    ),
  ];
}

// EROFS

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
    for (const run of flatRuns(image, inode)) placements.push(...every(RawDirent, run.start, 4));
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

export async function erofsSeeds(): Promise<Seed[]> {
  const shapes = [
    [512, "inline"],
    [4096, "inline"],
    [4096, "blocks"],
  ] as const;
  return Promise.all(shapes.map(async ([size, tails]) => erofsSeed(await erofsImage(erofsTree(), size, tails))));
}

/** Directories within directories, and files at the bottom. With long names every path has 100 kB. */
export async function deepErofs(depth: number, nameSize: number): Promise<Uint8Array> {
  let tree: Directory = directory(attributes(0o755));
  for (let i = 0; i < 1000; i++) tree.entries.set(b(`f${i}`), file(""));
  for (let i = 0; i < depth; i++) tree = directory(attributes(0o755), [[b("d".repeat(nameSize)), tree]]);
  return erofsImage(tree, 4096, "inline");
}

// GPT

/** Right checksums in both tables. */
function repairGpt(bytes: Uint8Array): void {
  for (const header of [512, bytes.length - 512]) {
    if (header < 512 || header + 512 > bytes.length) continue;
    const view = new DataView(bytes.buffer, header, 512);
    const of = (key: keyof typeof RawGptHeader.fields) => RawGptHeader.fields[key].offset;
    const start = Number(view.getBigUint64(of("entriesLba"), true)) * 512;
    const size = view.getUint32(of("entryCount"), true) * view.getUint32(of("entrySize"), true);
    if (start + size <= bytes.length)
      view.setUint32(of("entriesCrc"), crc32(bytes.subarray(start, start + size)), true);
    view.setUint32(of("headerCrc"), 0, true);
    const length = Math.min(512, view.getUint32(of("headerSize"), true));
    view.setUint32(of("headerCrc"), crc32(bytes.subarray(header, header + length)), true);
  }
}

export function gptSeeds(): Seed[] {
  const MIB = 2 ** 20;
  const diskSize = MIB + 512 * 64;
  const guid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  const { primary, backup } = encodeGpt({
    sectorSize: 512,
    diskSize,
    diskGuid: guid(1),
    partitions: [
      {
        typeGuid: partitionType("esp", "x86-64"),
        partitionGuid: guid(2),
        start: MIB,
        size: 512,
        attributes: 1n,
        name: "esp",
      },
    ],
  });
  const bytes = new Uint8Array(diskSize);
  bytes.set(primary);
  bytes.set(backup.bytes, backup.offset);
  const placements = [
    ...[at(RawMbr, 0), at(RawGptHeader, 512), at(RawGptHeader, diskSize - 512)],
    ...[...every(RawGptEntry, 1024, 2), at(RawGptEntry, backup.offset)],
  ];
  return [{ bytes, placements, repair: repairGpt }];
}

// FAT

/** The volume of a plan with as few sectors as hold it: FAT32 is told by its boot sector, however small it is. */
async function compactFat(tree: Directory): Promise<Uint8Array> {
  const plan = planFat({ tree, size: 40 * 2 ** 20, sectorSize: 512, volumeId: 0x1234abcd, label: "ESP" });
  const source = fatSource(plan);
  const boot = copyFields(RawBootSector, RawBootSector.view(await source.read(0, RawBootSector.size)));
  const clusters = plan.clusterCount - plan.freeClusters + 16;
  const fatSectors = Math.ceil(((clusters + 2) * 4) / 512);
  const head = await source.read(0, boot.reservedSectors * 512);
  const parts = [head, await source.read(plan.fatStart, fatSectors * 512)];
  parts.push(await source.read(plan.dataStart, clusters * plan.clusterSize));
  const bytes = concatBytes(...parts);
  bytes.set(RawBootSector.encode({ ...boot, fatCount: 1, fatSectors, totalSectors: bytes.length / 512 }));
  return bytes;
}

export async function fatSeeds(): Promise<Seed[]> {
  const bytes = await compactFat(
    treeOf({
      "EFI/BOOT/BOOTX64.EFI": new Uint8Array(9000).fill(7),
      "EFI/Linux/debian_13.2+3.efi": new Uint8Array(20_000).map((_, i) => i % 251),
      "loader/loader.conf": "editor no\n",
      "loader/empty": "",
      "grüße, 世界 🎉.txt": "hello",
    }),
  );
  const boot = RawBootSector.view(bytes);
  const fat = boot.reservedSectors * 512;
  const data = fat + boot.fatSectors * 512;
  const placements = [at(RawBootSector, 0), at(RawInfoSector, 512), ...every(RawFatWord, fat, 24)];
  for (let entry = 0; entry < 6 * 16; entry++)
    if (bytes[data + 32 * entry] !== 0) {
      const isLong = (bytes[data + 32 * entry + RawEntry.fields.attributes.offset] ?? 0) === 0x0f;
      placements.push(at(isLong ? RawLongName : RawEntry, data + 32 * entry));
    }
  return [{ bytes, placements }];
}

/** A word of the table, which has no structure of its own. */
const RawFatWord = defineStruct("fat.word", 4, { next: le.u32(0) });

/** Directories within directories with long names, and many short ones at the bottom. */
export async function deepFat(): Promise<Uint8Array> {
  let tree: Directory = directory(attributes(0o755));
  for (let i = 0; i < 2000; i++) tree.entries.set(b(`F${i}`), file(""));
  for (let i = 0; i < 200; i++) tree = directory(attributes(0o755), [[b("d".repeat(250)), tree]]);
  return compactFat(tree);
}

// PE

/** A PE32+ image as small as a stub can be. */
export function peImage(sections: readonly (readonly [name: string, content: Uint8Array])[]): Uint8Array {
  const headersSize = 0x600;
  let rawOffset = headersSize;
  const table = sections.map(([name, content], index) => {
    const rawSize = Math.ceil(content.length / 512) * 512;
    const place = { virtualAddress: 0x1000 * (index + 1), virtualSize: content.length, rawSize, rawOffset };
    rawOffset += rawSize;
    const none = { relocations: 0, lineNumbers: 0, relocationCount: 0, lineNumberCount: 0 };
    return RawSectionHeader.encode({ name: encodeUtf8(name), characteristics: 0x40000040, ...place, ...none });
  });
  const debug = sections.findIndex(([name]) => name === ".rdata");
  const headers = concatBytes(
    RawDosHeader.encode({ magic: 0x5a4d, dos: new Uint8Array(0), peOffset: 64 }),
    RawFileHeader.encode({
      ...{
        signature: 0x4550,
        machine: 0x8664,
        sectionCount: sections.length,
        timestamp: 1,
        symbolTable: 0,
        symbolCount: 0,
      },
      ...{ optionalHeaderSize: RawOptionalHeader.size + 8 * 16, characteristics: 0x206 },
    }),
    RawOptionalHeader.encode({
      ...{
        magic: 0x20b,
        linkerMajor: 0,
        linkerMinor: 0,
        codeSize: 0,
        initializedDataSize: 0,
        uninitializedDataSize: 0,
      },
      ...{ entryPoint: 0x1000, codeBase: 0x1000, imageBase: 0x14df90000n, sectionAlignment: 4096, fileAlignment: 512 },
      ...{
        osMajor: 0,
        osMinor: 0,
        imageMajor: 257,
        imageMinor: 1,
        subsystemMajor: 1,
        subsystemMinor: 1,
        win32Version: 0,
      },
      ...{ imageSize: 0x10000, headersSize, checksum: 0, subsystem: 10, dllCharacteristics: 0x160 },
      ...{ stackReserve: 0n, stackCommit: 0n, heapReserve: 0n, heapCommit: 0n, loaderFlags: 0, directoryCount: 16 },
    }),
    ...Array.from({ length: 16 }, (_, i) =>
      RawDataDirectory.encode(
        i === 6 && debug >= 0 ? { address: 0x1000 * (debug + 1), size: 28 } : { address: 0, size: 0 },
      ),
    ),
    ...table,
  );
  const padded = new Uint8Array(headersSize);
  padded.set(headers);
  return concatBytes(padded, ...sections.map(([, content]) => pad(content, 512)));
}

const SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nsystemd,1,S,systemd,257,https://example.org\n\0";
const MAGIC = "#### LoaderInfo: systemd-stub 257.1-2 ####\0";

export function stubBytes(): Uint8Array {
  const debug = {
    characteristics: 0,
    timestamp: 0,
    major: 0,
    minor: 0,
    type: 2,
    size: 4,
    address: 0x1000,
    rawOffset: 0x600,
  };
  return peImage([
    [".text", new Uint8Array(700).fill(0x90)],
    [".sbat", encodeUtf8(SBAT)],
    [".sdmagic", encodeUtf8(MAGIC)],
    [".rdata", RawDebugEntry.encode(debug)],
  ]);
}

export function ukiBytes(commandLine: Uint8Array = encodeUtf8(`quiet roothash=${"ab".repeat(32)}`)): Uint8Array {
  return peImage([
    [".text", new Uint8Array(700).fill(0x90)],
    [".sdmagic", encodeUtf8(MAGIC)],
    [".osrel", encodeUtf8("ID=x\n")],
    [".cmdline", commandLine],
    [".linux", new Uint8Array(600).fill(3)],
  ]);
}

export function peSeed(bytes: Uint8Array): Seed {
  const optional = 64 + RawFileHeader.size;
  const table = optional + RawOptionalHeader.size + 16 * RawDataDirectory.size;
  const count = RawFileHeader.view(bytes, 64).sectionCount;
  const placements = [
    ...[at(RawDosHeader, 0), at(RawFileHeader, 64), at(RawOptionalHeader, optional)],
    ...every(RawDataDirectory, optional + RawOptionalHeader.size + 32, 3),
    ...every(RawSectionHeader, table, count),
  ];
  return { bytes, placements };
}

// cpio

export async function cpioSeeds(): Promise<Seed[]> {
  const hard = file("two names");
  const tree = treeOf({
    init: symlink(attributes(0o777), b("usr/lib/init")),
    "usr/lib/init": file("#!", 0o755),
    "usr/lib/one": hard,
    "usr/lib/two": hard,
    "dev/console": deviceNode("character", attributes(0o600), 5, 1),
  });
  const one = await encodeCpio(tree);
  const bytes = concatBytes(one, new Uint8Array(512), await encodeCpio(treeOf({ "usr/lib/init": "newer" })));
  const placements = parseCpio(bytes).entries.map(({ offset }) => at(RawCpioHeader, offset));
  return [{ bytes, placements }];
}

/** A link whose target no path may have. */
export function longLinkCpio(size: number): Promise<Uint8Array> {
  return encodeCpio(treeOf({ init: symlink(attributes(0o777), "a/".repeat(size / 2) as ByteString) }));
}

// ELF

const DLOPEN = JSON.stringify([{ feature: "x", priority: "suggested", soname: ["libx.so.1", "libx.so"] }]);
const PROGRAM: SampleElf = {
  ...{ interpreter: "/lib64/ld-linux-x86-64.so.2", soname: "libme.so.1", needed: ["libc.so.6", "libm.so.6"] },
  ...{ runpath: "$ORIGIN/../lib:/opt/lib", dlopen: DLOPEN },
};

export function elfSeeds(): Seed[] {
  return (
    [
      [2, 1],
      [1, 2],
    ] as const
  ).map(([bits, order]) => {
    const bytes = sampleElf({ ...PROGRAM, bits, order });
    const { header, segment, dynamic, note } = TABLES[bits][order];
    const segments = IDENT_SIZE + header.size;
    const ofType = (type: number): number => {
      for (let i = 0; i < 4; i++) {
        const found = segment.view(bytes, segments + i * segment.size);
        if (found.type === type) return found.offset;
      }
      return 0;
    };
    const placements = [
      ...[at(RawIdent, 0), at(header as Table, IDENT_SIZE), ...every(segment as Table, segments, 4)],
      ...[...every(dynamic as Table, ofType(2), 6), at(note as Table, ofType(4))],
    ];
    return { bytes, placements };
  });
}

/** A file whose `count` note segments are all the same note: NULs, and something behind them. */
export function noteElf(count: number, name: Uint8Array, description: Uint8Array = new Uint8Array(0)): Uint8Array {
  const { header, segment, note } = TABLES[2][1];
  const owner = pad(name, 4);
  const content = concatBytes(
    note.encode({ nameSize: name.length, descriptionSize: description.length, type: 0x407c0c0a }),
    owner,
    pad(description, 4),
  );
  const start = IDENT_SIZE + header.size + count * segment.size;
  const sample = sampleElf({});
  const { size, programHeaderCount } = { size: content.length, programHeaderCount: count };
  const headers = concatBytes(sample.subarray(0, IDENT_SIZE + header.size));
  new DataView(headers.buffer).setUint16(
    IDENT_SIZE + header.fields.programHeaderCount.offset,
    programHeaderCount,
    true,
  );
  const one = segment.encode({
    ...{ type: 4, flags: 4, offset: start, address: 0, fileSize: size },
    ...{ physicalAddress: 0n as never, memorySize: 0n as never, alignment: 0n as never },
  });
  return concatBytes(headers, ...Array.from({ length: count }, () => one), content);
}

const PACK_PARAMETERS = { algorithm: "sha256", salt: Uint8Array.of(1, 2, 3, 4), blockSize: 512 } as const;

/** A pack of 200 blocks in two frames; its placements are the header of its digests and its seek table. */
export async function packSeeds(): Promise<Seed[]> {
  const blocks = new Uint8Array(200 * PACK_PARAMETERS.blockSize).map((_, index) => index >> 4);
  const sink = memorySink();
  const compressor = await createFrameCompressor({ workers: 0 });
  const compress = (bytes: Uint8Array, size: number) => compressor.compressFrames(bytes, size, 3);
  const writer = packWriter(forwardSink(sink), PACK_PARAMETERS, compress);
  await writer.add(blocks, await inlineBlockHasher(nodeHashes).hashBlocks(blocks, PACK_PARAMETERS));
  await writer.finish();
  const bytes = sink.bytes();
  const { blocks: count } = await readPackShape(bytesSource(bytes), "pack");
  const footer = bytes.length - RawSeekFooter.size;
  const entries = [1, 2, 3].map((back) => ({ struct: RawSeekEntry, offset: footer - back * RawSeekEntry.size }));
  const table = footer - 3 * RawSeekEntry.size - RawSkippableHeader.size;
  const header = table - count * 32 - PACK_PARAMETERS.salt.length - RawLeavesHeader.size;
  const placements: Placement[] = [
    { struct: RawSkippableHeader, offset: header - RawSkippableHeader.size },
    { struct: RawLeavesHeader, offset: header },
    { struct: RawSkippableHeader, offset: table },
    ...entries,
    { struct: RawSeekFooter, offset: footer },
  ];
  return [{ bytes, placements }];
}

export function recipeSeeds(): Seed[] {
  const packs = [1, 2].map((n) => ({ digest: `sha256:${`0${n}`.repeat(32)}` as const, size: 9000, blocks: 300 }));
  const runs = [
    { start: 0, count: 200, pack: 0, first: 5 },
    { start: 200, count: 3, pack: undefined, first: 0 },
    { start: 203, count: 297, pack: 1, first: 3 },
    { start: 500, count: 2, pack: 0, first: 0 },
  ];
  const bytes = encodeRecipe({ parameters: PACK_PARAMETERS, blocks: 502, packs, runs });
  const first = RawRecipeHeader.size + PACK_PARAMETERS.salt.length;
  const placements: Placement[] = [
    { struct: RawRecipeHeader, offset: 0 },
    { struct: RawPackEntry, offset: first },
    { struct: RawPackEntry, offset: first + RawPackEntry.size },
  ];
  return [{ bytes, placements }];
}

/** Blocks of zeros and of a pack by turns. */
export function recipeOfRuns(count: number): Uint8Array {
  const digest = `sha256:${"ab".repeat(32)}` as const;
  const runs = Array.from({ length: count }, (_, start) =>
    start % 2 === 0 ? { start, count: 1, pack: 0, first: start } : { start, count: 1, pack: undefined, first: 0 },
  );
  const packs = [{ digest, size: 2 ** 30, blocks: count }];
  return encodeRecipe({ parameters: PACK_PARAMETERS, blocks: count, packs, runs });
}
