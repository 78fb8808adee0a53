// Hand-made images, for what no mkfs.erofs here writes: blocks above 4 KiB, records of every size, clusters that are rotated
// over several blocks, devices in one address space.
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import {
  CHUNK_48BIT,
  CHUNK_INDEXES,
  DATA_LAYOUTS,
  type DataLayout,
  INCOMPAT,
  RawChunkIndex,
  RawDeviceSlot,
  RawDirent,
  RawInodeExtended,
  RawSuperblock,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_OFFSET,
} from "./format.ts";
import { ADVISE, EXTENT_FORMAT_SHIFT, EXTENT_PARTIAL, RawExtentsHeader, RawMapHeader } from "./format-compressed.ts";
import { type ErofsImage, type Extent, type OpenErofsOptions, openErofs } from "./index.ts";
import { patternBytes } from "./trees.test.ts";

interface HandMade {
  /** log2 of bytes. */
  readonly blockBits?: number;
  readonly incompat?: number;
  readonly layout: DataLayout;
  /** Bytes of the file. */
  readonly size: number;
  /** The union i_u of its inode. */
  readonly u?: number;
  /** What stands behind its inode. */
  readonly behind?: Uint8Array;
  /** From DATA on. */
  readonly data: Uint8Array;
  /** Slots of a device table. */
  readonly devices?: readonly Uint8Array[];
}

/** Blocks before the data: head, metadata, root directory. */
const DATA = 3;
const FILE_NID = 4;

/** One file `f` in the root. */
function imageOf(made: HandMade): Uint8Array<ArrayBuffer> {
  const { blockBits = 12, incompat = 0, layout, size, u = DATA, behind = new Uint8Array(0), data } = made;
  const blockSize = 2 ** blockBits;
  const blocks = DATA + Math.ceil(data.length / blockSize);
  const image = new Uint8Array(blocks * blockSize);
  const none = new Uint8Array(0);
  const devices = made.devices ?? [];
  image.set(
    RawSuperblock.encode({
      magic: SUPERBLOCK_MAGIC,
      checksum: 0,
      featureCompat: 0,
      blockBits,
      extensionSlots: 0,
      rootNidOrBlocksHi: 1,
      inodeCount: 2,
      epoch: 0n,
      fixedNsec: 0,
      blocksLo: blocks,
      metaBlock: 1,
      xattrBlock: 0,
      uuid: none,
      volumeName: none,
      featureIncompat: INCOMPAT.zeroPadding | incompat | (devices.length > 0 ? INCOMPAT.deviceTable : 0),
      compression: 0,
      extraDevices: devices.length,
      deviceTableSlot: (2 * blockSize - 128 * devices.length) / 128, // the end of the metadata
      dirBlockBits: 0,
      xattrPrefixCount: 0,
      xattrPrefixStart: 0,
      packedNid: 0n,
      xattrFilter: 0,
      isharePrefixId: 0,
      reserved: none,
      buildTime: 0,
      rootNid64: 0n,
      reserved2: none,
    }),
    SUPERBLOCK_OFFSET,
  );
  devices.forEach((slot, i) => void image.set(slot, 2 * blockSize - 128 * (devices.length - i)));
  const inode = (type: number, layout: DataLayout, size: number, u: number): Uint8Array =>
    RawInodeExtended.encode({
      format: 1 | (DATA_LAYOUTS.indexOf(layout) << 1),
      xattrICount: 0,
      mode: type | 0o755,
      nb: 0,
      fileSize: size,
      u,
      ino: 0,
      uid: 0,
      gid: 0,
      mtime: 0n,
      mtimeNsec: 0,
      nlink: 1,
      reserved: none,
    });
  const names = [".", "..", "f"];
  const entries = names.map((name, i) =>
    RawDirent.encode({
      nid: name === "f" ? BigInt(FILE_NID) : 1n,
      nameOffset: names.length * RawDirent.size + names.slice(0, i).join("").length,
      fileType: name === "f" ? 1 : 2,
      reserved: 0,
    }),
  );
  const directory = concatBytes(...entries, new TextEncoder().encode(names.join("")));
  image.set(inode(0o040000, "flat-plain", directory.length, 2), blockSize + 32);
  image.set(inode(0o100000, layout, size, u), blockSize + FILE_NID * 32);
  image.set(behind, blockSize + FILE_NID * 32 + RawInodeExtended.size);
  image.set(directory, 2 * blockSize);
  image.set(data, DATA * blockSize);
  return image;
}

async function open(made: HandMade, options: OpenErofsOptions = {}): Promise<ErofsImage> {
  return openErofs(bytesSource(imageOf(made)), options);
}

async function contentOf(image: ErofsImage): Promise<Uint8Array> {
  const inode = await image.lookup("f");
  assert.ok(inode);
  const whole = await image.content(inode).read(0, inode.size);
  // Any part is as in the whole.
  for (let at = 0; at < inode.size; at += 1 + Math.floor(inode.size / 13)) {
    const part = await image.content(inode).read(at, Math.min(777, inode.size - at));
    assert.deepEqual(part, whole.subarray(at, at + part.length), `${part.length} at ${at}`);
  }
  return whole;
}

async function extentsOf(image: ErofsImage): Promise<Extent[]> {
  const inode = await image.lookup("f");
  assert.ok(inode);
  const extents: Extent[] = [];
  for await (const extent of image.extents(inode)) extents.push(extent);
  return extents;
}

/** An LZ4 block of literals alone. */
function literals(content: Uint8Array): Uint8Array {
  const more = content.length - 15;
  if (more < 0) return concatBytes(Uint8Array.of(content.length << 4), content);
  return concatBytes(
    Uint8Array.of(0xf0),
    new Uint8Array(Math.floor(more / 255)).fill(255),
    Uint8Array.of(more % 255),
    content,
  );
}

/** Zeros in front, up to `size` bytes. */
function padded(bytes: Uint8Array, size: number): Uint8Array {
  return concatBytes(new Uint8Array(size - bytes.length), bytes);
}

const u32 = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const u16 = (...values: number[]): Uint8Array => new Uint8Array(Uint16Array.from(values).buffer);

/** Bytes between inode and map header, which is 8-aligned as the inode is. */
const mapHeader = (advise: number, algorithms = 0, clusterBits = 0): Uint8Array =>
  RawMapHeader.encode({ fragmentOffset: 0, advise, algorithms, clusterBits });

const extentsHeader = (count: number, advise: number, clusterBits = 0): Uint8Array =>
  RawExtentsHeader.encode({ countLo: count, advise: ADVISE.encodedExtents | advise, countHi: clusterBits << 8 });

for (const blockBits of [12, 13, 14, 15, 16]) {
  const blockSize = 2 ** blockBits;
  test(`blocks of ${blockSize} bytes, not compressed`, async () => {
    const content = patternBytes(blockSize * 2 + 100, 3);
    const plain = await open({ blockBits, layout: "flat-plain", size: content.length, data: content });
    assert.deepEqual(await contentOf(plain), content);
    const tail = content.subarray(2 * blockSize);
    const data = content.subarray(0, 2 * blockSize);
    const inline = await open({ blockBits, layout: "flat-inline", size: content.length, behind: tail, data });
    assert.deepEqual(await contentOf(inline), content);
  });

  // LZ4 over three logical clusters, plain within two, LZ4 to the end; the last two begin within a logical cluster.
  const content = patternBytes(5 * blockSize - 50, 5);
  const cuts = [0, 2.5 * blockSize, 3.25 * blockSize];
  const lz4 = (start: number, end: number | undefined, blocks: number) =>
    padded(literals(content.subarray(start, end)), blocks * blockSize);
  const plain = new Uint8Array(blockSize);
  plain.set(content.subarray(cuts[1], cuts[2]));
  const data = concatBytes(lz4(0, cuts[1], 3), plain, lz4(cuts[2]!, undefined, 2));
  const made = { blockBits, size: content.length, u: 6, data } as const;
  const seen = [
    [0, "lz4", DATA, 3],
    [cuts[1], "plain", DATA + 3, 1],
    [cuts[2], "lz4", DATA + 4, 2],
  ];

  async function check(layout: DataLayout, behind: Uint8Array): Promise<void> {
    const image = await open({ ...made, layout, behind });
    const extents = await extentsOf(image);
    assert.deepEqual(
      extents.map(({ at, encoding, start, storedSize }) => [at, encoding, start / blockSize, storedSize / blockSize]),
      seen,
    );
    assert.deepEqual(await contentOf(image), content);
  }

  test(`blocks of ${blockSize} bytes, a full index`, async () => {
    const head = (type: number, at: number, block: number) => concatBytes(u16(type, at), u32(block));
    const rest = (blocks: number) => u16(2, 0, 0x800 | blocks, 1);
    const entries = [
      head(1, 0, DATA),
      rest(3),
      head(0, blockSize / 2, DATA + 3),
      head(1, blockSize / 4, DATA + 4),
      rest(2),
    ];
    await check("compressed-full", concatBytes(mapHeader(ADVISE.bigHead1), new Uint8Array(8), ...entries));
  });

  test(`blocks of ${blockSize} bytes, a compact index`, async () => {
    const numberBits = Math.max(12, blockBits);
    const entry = (type: number, number: number) => number | (type << numberBits);
    const packs = [
      concatBytes(u16(entry(1, 0), entry(2, 0x800 | 3)), u32(DATA)),
      concatBytes(u16(entry(0, blockSize / 2), entry(1, blockSize / 4)), u32(DATA + 3)),
      concatBytes(u16(entry(2, 0x800 | 2), 0), u32(DATA + 4)),
    ];
    const behind = concatBytes(mapHeader(ADVISE.bigHead1 | ADVISE.bigHead2), ...packs);
    if (blockBits > 14) await assert.rejects(check("compressed-compact", behind), { code: "cluster-size" });
    else await check("compressed-compact", behind);
  });
}

test("encoded extents with records of every size", async () => {
  const content = concatBytes(patternBytes(4096, 1), new Uint8Array(4096), patternBytes(4096, 2), patternBytes(700, 3));
  const stored = [
    literals(content.subarray(0, 4096)),
    new Uint8Array(0), // a hole
    content.subarray(8192, 12288),
    literals(content.subarray(12288)),
  ];
  const data = concatBytes(...stored);
  const lz4 = 1 << EXTENT_FORMAT_SHIFT;
  let start = DATA * 4096;
  const records = stored.map((bytes, i) => {
    const record = [bytes.length | (i === 0 || i === 3 ? lz4 : 0), start, 0, i * 4096, 0, 0, 0, 0];
    start += bytes.length;
    return record;
  });
  for (const [power, size] of [4, 8, 16, 32].entries()) {
    const first = 64 + 8; // bytes behind the start of the inode, which is aligned to 128
    const behind = concatBytes(
      extentsHeader(size > 8 ? 4 : 0, power << 1),
      new Uint8Array(Math.ceil(first / size) * size - first),
      ...(size === 4 ? [u32(DATA * 4096, 0)] : []),
      ...records.map((record) => u32(...record).subarray(0, size)),
    );
    const image = await open({
      incompat: INCOMPAT.bits48,
      layout: "compressed-full",
      size: content.length,
      behind,
      data,
    });
    const extents = await extentsOf(image);
    assert.deepEqual(
      extents.map(({ encoding, at }) => [encoding, at]),
      [
        ["lz4", 0],
        ["hole", 4096],
        ["plain", 8192],
        ["lz4", 12288],
      ],
    );
    assert.deepEqual(await contentOf(image), content, `records of ${size} bytes`);
  }
});

/** Records of 16 bytes: stored size and flags, start, place in the file. */
async function openRecords(
  size: number,
  data: Uint8Array,
  records: readonly (readonly [number, number, number])[],
  advise = 0,
) {
  const behind = concatBytes(
    extentsHeader(records.length, advise | (2 << 1)),
    new Uint8Array(8),
    ...records.map(([stored, start, at]) => u32(stored, start, 0, at)),
  );
  return open({ incompat: INCOMPAT.bits48, layout: "compressed-full", size, behind, data });
}

test("a plain cluster that is rotated over several blocks", async () => {
  const content = patternBytes(9000, 4);
  const data = new Uint8Array(3 * 4096);
  data.set(content.subarray(0, 3096), 2 * 4096 + 1000); // the rest of the first block stands in the last one
  data.set(content.subarray(3096));
  const image = await openRecords(10_000, data, [[data.length, DATA * 4096, 1000]], ADVISE.interlaced);
  assert.deepEqual(
    (await extentsOf(image)).map(({ encoding }) => encoding),
    ["hole", "interlaced"],
  );
  assert.deepEqual(await contentOf(image), concatBytes(new Uint8Array(1000), content));
});

test("a cluster that yields more than its extent must say so", async () => {
  const content = patternBytes(4096, 6);
  const stored = literals(content);
  const lz4 = stored.length | (1 << EXTENT_FORMAT_SHIFT);
  const partial = await openRecords(3000, stored, [[lz4 | EXTENT_PARTIAL, DATA * 4096, 0]]);
  assert.deepEqual(await contentOf(partial), content.subarray(0, 3000));
  const whole = await openRecords(3000, stored, [[lz4, DATA * 4096, 0]]);
  await assert.rejects(contentOf(whole), { code: "bad-compression" });
});

test("records that go backwards, past the end or nowhere are refused", async () => {
  const at = DATA * 4096;
  const data = new Uint8Array(4096);
  const codeOf = async (records: readonly (readonly [number, number, number])[]): Promise<unknown> =>
    openRecords(4096, data, records)
      .then(contentOf)
      .then(
        () => "read",
        (error: { code?: string }) => error.code,
      );
  assert.equal(await codeOf([[4096, at, 0]]), "read");
  assert.equal(
    await codeOf([
      [100, at, 0],
      [100, at, 90],
      [100, at, 90],
    ]),
    "bad-extents",
  );
  assert.equal(
    await codeOf([
      [100, at, 0],
      [100, at, 90],
      [100, at, 80],
    ]),
    "bad-extents",
  );
  assert.equal(
    await codeOf([
      [100, at, 0],
      [100, at, 5000],
    ]),
    "bad-extents",
  );
  assert.equal(await codeOf([[100, at, 0]]), "bad-extent");
  assert.equal(await codeOf([[4096, at + 1, 0]]), "data-out-of-range");
  assert.equal(await codeOf([[4096 | (2 << EXTENT_FORMAT_SHIFT), at, 0]]), "bad-algorithm");
  assert.equal(await codeOf([[4096 | (9 << EXTENT_FORMAT_SHIFT), at, 0]]), "erofs-algorithm");
});

test("chunks on another device: by its number, and by an address among all devices", async () => {
  const device = patternBytes(2 * 4096, 8);
  const data = patternBytes(4096, 9);
  const slot = RawDeviceSlot.encode({
    tag: new Uint8Array(0),
    blocksLo: 2,
    addressLo: DATA + 1, // right behind the image
    blocksHi: 0,
    addressHi: 0,
    reserved: new Uint8Array(0),
  });
  const index = (block: number, deviceId = 0, blockHi = 0) => RawChunkIndex.encode({ block, deviceId, blockHi });
  const behind = concatBytes(index(1, 1), index(DATA), index(0xffffffff), index(DATA + 1));
  const wanted = concatBytes(device.subarray(4096), data, new Uint8Array(4096), device.subarray(0, 4096));
  const incompat = INCOMPAT.chunks;
  const made = {
    incompat,
    layout: "chunk-based",
    size: wanted.length,
    u: CHUNK_INDEXES,
    behind,
    data,
    devices: [slot],
  } as const;
  assert.deepEqual(await contentOf(await open(made, { devices: [bytesSource(device)] })), wanted);
  // One source with all devices behind each other, as the kernel takes it where no devices are given.
  const joined = bytesSource(concatBytes(imageOf(made), device));
  assert.deepEqual(await contentOf(await openErofs(joined)), wanted);
  await assert.rejects(contentOf(await open(made)), { code: "data-out-of-range" });
  await assert.rejects(open(made, { devices: [bytesSource(device), bytesSource(device)] }), { code: "bad-device" });
  const far = { ...made, behind: concatBytes(index(0, 3), behind.subarray(8)), devices: [slot, slot] };
  await assert.rejects(contentOf(await open(far, { devices: [bytesSource(device), bytesSource(device)] })), {
    code: "bad-device",
  });
});

test("a null address is a hole only with all the bits that addresses have", async () => {
  const long = CHUNK_INDEXES | CHUNK_48BIT;
  const read = async (u: number, blockHi: number): Promise<Uint8Array> =>
    contentOf(
      await open({
        incompat: INCOMPAT.chunks | INCOMPAT.bits48,
        layout: "chunk-based",
        size: 4000,
        u,
        behind: RawChunkIndex.encode({ block: 0xffffffff, deviceId: 0, blockHi }),
        data: patternBytes(4096, 1),
      }),
    );
  assert.deepEqual(await read(long, 0xffff), new Uint8Array(4000));
  assert.deepEqual(await read(CHUNK_INDEXES, 7), new Uint8Array(4000));
  await assert.rejects(read(long, 0), { code: "data-out-of-range" });
});

test("of a large chunk no more is read than is asked for", async () => {
  const data = patternBytes(256 * 4096, 7);
  const bytes = imageOf({
    incompat: INCOMPAT.chunks,
    layout: "chunk-based",
    size: data.length,
    u: 8, // chunks of 2^8 blocks
    behind: u32(DATA),
    data,
  });
  const reads: number[] = [];
  const plain = bytesSource(bytes);
  const image = await openErofs({
    size: bytes.length,
    read(offset, length) {
      if (offset >= DATA * 4096) reads.push(length);
      return plain.read(offset, length);
    },
  });
  const inode = await image.lookup("f");
  assert.ok(inode);
  assert.deepEqual(await image.content(inode).read(500_000, 5000), data.subarray(500_000, 505_000));
  assert.deepEqual(reads, [5000]);
});
