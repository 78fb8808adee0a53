import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { crc32, fromHex, parseUuid, swapGuid } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource, emptySource } from "../../source/index.ts";
import {
  checkGpt,
  encodeGpt,
  type GptOptions,
  type GptPartition,
  openGpt,
  PARTITION_FLAGS,
  partitionType,
  RawGptEntry,
  RawGptHeader,
  RawMbr,
  SECTOR_SIZES,
  usableArea,
} from "./index.ts";

const MIB = 1024 * 1024;
const guid = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

function partition(number: number, start: number, size: number, name = `part_${number}`): GptPartition {
  return {
    typeGuid: partitionType("root", "x86-64"),
    partitionGuid: guid(number),
    start,
    size,
    attributes: PARTITION_FLAGS.readOnly,
    name,
  };
}

const SAMPLE: GptOptions = {
  sectorSize: 512,
  diskSize: 8 * MIB,
  diskGuid: guid(0xd15c),
  partitions: [partition(1, MIB, 2 * MIB), partition(2, 4 * MIB, 512), partition(3, 3 * MIB, MIB)],
};

function disk(options: GptOptions = SAMPLE): Uint8Array {
  const bytes = new Uint8Array(options.diskSize);
  const { primary, backup } = encodeGpt(options);
  bytes.set(primary);
  bytes.set(backup.bytes, backup.offset);
  return bytes;
}

/** Puts right checksums into both tables, so that a changed disk is judged by its numbers. */
function resum(bytes: Uint8Array, sectorSize: number): void {
  for (const at of [sectorSize, bytes.length - sectorSize]) {
    const view = new DataView(bytes.buffer, at, sectorSize);
    const field = (key: keyof typeof RawGptHeader.fields) => RawGptHeader.fields[key].offset;
    const start = Number(view.getBigUint64(field("entriesLba"), true)) * sectorSize;
    const size = view.getUint32(field("entryCount"), true) * view.getUint32(field("entrySize"), true);
    if (start + size <= bytes.length)
      view.setUint32(field("entriesCrc"), crc32(bytes.subarray(start, start + size)), true);
    view.setUint32(field("headerCrc"), 0, true);
    const headerSize = Math.min(view.getUint32(field("headerSize"), true), sectorSize);
    view.setUint32(field("headerCrc"), crc32(bytes.subarray(at, at + headerSize)), true);
  }
}

const withoutNumbers = (partitions: readonly (GptPartition & { number: number })[]) =>
  partitions.map(({ number: _, ...rest }) => rest);

const optionsArbitrary: fc.Arbitrary<GptOptions> = fc
  .record({
    sectorSize: fc.constantFrom(...SECTOR_SIZES),
    diskGuid: fc.uuid(),
    parts: fc.uniqueArray(
      fc.record({
        guid: fc.uuid(),
        type: fc.uuid(),
        mib: fc.integer({ min: 1, max: 3 }),
        cut: fc.nat(3),
        attributes: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        // Any UTF-16 units but NUL: GPT knows no validity.
        name: fc
          .array(fc.integer({ min: 1, max: 0xffff }), { maxLength: 36 })
          .map((units) => String.fromCharCode(...units)),
      }),
      { maxLength: 128, selector: (part) => part.guid },
    ),
  })
  .map(({ sectorSize, diskGuid, parts }) => {
    let start = MIB;
    const partitions = parts.map(({ guid: partitionGuid, type, mib, cut, attributes, name }) => {
      const one = { typeGuid: type, partitionGuid, start, size: mib * MIB - cut * sectorSize, attributes, name };
      start += mib * MIB;
      return one;
    });
    return { sectorSize, diskGuid, partitions, diskSize: start + MIB };
  });

test("tables survive encoding and reading, with both sector sizes", async () => {
  await fc.assert(
    fc.asyncProperty(optionsArbitrary, async (options) => {
      const { primary, backup } = encodeGpt(options);
      const { sectorSize, diskSize } = options;
      assert.equal(primary.length, usableArea(sectorSize, diskSize).start);
      assert.equal(backup.offset + backup.bytes.length, diskSize);
      const bytes = disk(options);
      const { gpt, findings } = await checkGpt(bytesSource(bytes));
      assert.deepEqual(findings, []);
      assert.equal(gpt.sectorSize, sectorSize);
      assert.equal(gpt.used, "primary");
      assert.equal(gpt.diskGuid, options.diskGuid);
      assert.deepEqual(withoutNumbers(gpt.partitions), options.partitions);
      assert.ok(gpt.primary.valid && gpt.backup.valid);
    }),
    { numRuns: 30 },
  );
});

test("places of the tables", () => {
  assert.deepEqual(usableArea(512, 8 * MIB), { start: 34 * 512, end: 8 * MIB - 33 * 512 });
  assert.deepEqual(usableArea(4096, 8 * MIB), { start: 6 * 4096, end: 8 * MIB - 5 * 4096 });
  assert.throws(() => usableArea(512, 67 * 512), RangeError);
  assert.throws(() => usableArea(512, 8 * MIB + 1), RangeError);
  assert.throws(() => usableArea(1024 as 512, 8 * MIB), RangeError);
});

test("a disk past 2 TiB has a protective partition of the largest size", () => {
  const { primary, backup } = encodeGpt({ ...SAMPLE, diskSize: 2 ** 42 });
  assert.deepEqual([...primary.subarray(446 + 12, 446 + 16)], [255, 255, 255, 255]);
  assert.equal(backup.offset, 2 ** 42 - 33 * 512);
});

test("bad layouts are refused", () => {
  const bad: [GptPartition[], RegExp][] = [
    [[partition(1, MIB, MIB, "x".repeat(37))], /37 UTF-16 units/],
    [[partition(1, MIB, MIB, "a\0b")], /NUL/],
    [[partition(1, 512 * 34, 512)], /not a multiple of 1048576/],
    [[partition(1, MIB, 100)], /sectors of 512/],
    [[partition(1, MIB, 0)], /sectors of 512/],
    [[partition(1, 7 * MIB, MIB)], /outside/],
    [[partition(1, 0, MIB)], /outside/],
    [[partition(1, 2 * MIB, MIB), partition(2, MIB, 2 * MIB)], /"part_2" and "part_1" overlap/],
    [[partition(1, MIB, MIB), partition(1, 2 * MIB, MIB)], /is taken/],
    [Array.from({ length: 129 }, (_, i) => partition(i, MIB, 512)), /at most 128/],
  ];
  for (const [partitions, message] of bad)
    assert.throws(() => encodeGpt({ ...SAMPLE, partitions }), { name: "RangeError", message });
  assert.throws(() => encodeGpt({ ...SAMPLE, diskGuid: "x" }), { code: "bad-uuid" });
});

test("a name of 18 surrogate pairs fits, of 19 does not", async () => {
  const named = (name: string) => ({ ...SAMPLE, partitions: [partition(1, MIB, MIB, name)] });
  const { partitions } = await openGpt(bytesSource(disk(named("😀".repeat(18)))));
  assert.equal(partitions[0]?.name, "😀".repeat(18));
  assert.throws(() => encodeGpt(named("😀".repeat(19))), /38 UTF-16 units/);
});

test("a damaged primary table is replaced by the backup, and that is told", async () => {
  for (const sectorSize of SECTOR_SIZES) {
    const options: GptOptions = { ...SAMPLE, sectorSize, partitions: [partition(1, MIB, MIB)] };
    for (const at of [0, 5, 16, 60, 91]) {
      const bytes = disk(options);
      bytes[sectorSize + at]! ^= 1;
      const { gpt, findings } = await checkGpt(bytesSource(bytes));
      assert.equal(gpt.used, "backup");
      assert.equal(gpt.sectorSize, sectorSize);
      assert.deepEqual(withoutNumbers(gpt.partitions), options.partitions);
      assert.deepEqual(
        findings.map(({ code }) => code),
        ["gpt-primary"],
      );
    }
    const wiped = disk(options);
    wiped.fill(0, 0, usableArea(sectorSize, options.diskSize).start);
    const { gpt, findings } = await checkGpt(bytesSource(wiped));
    assert.deepEqual(withoutNumbers(gpt.partitions), options.partitions);
    assert.deepEqual(
      findings.map(({ code }) => code),
      ["gpt-mbr", "gpt-primary"],
    );
  }
});

test("a damaged entry array is a damaged table", async () => {
  const bytes = disk();
  bytes[2 * 512 + 40]! ^= 1;
  const { gpt, findings } = await checkGpt(bytesSource(bytes));
  assert.equal(gpt.used, "backup");
  assert.match(findings[0]!.message, /gpt entries at byte 1024: the checksum does not match/);
});

test("a damaged backup is told", async () => {
  const bytes = disk();
  bytes[bytes.length - 512]! ^= 1;
  const { gpt, findings } = await checkGpt(bytesSource(bytes));
  assert.equal(gpt.used, "primary");
  assert.equal(gpt.backup.valid, false);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["gpt-backup"],
  );
});

test("both damaged, no table, no bytes", async () => {
  const bytes = disk();
  bytes[512 + 20]! ^= 1;
  bytes[bytes.length - 512 + 20]! ^= 1;
  await assert.rejects(openGpt(bytesSource(bytes)), { code: "gpt-checksum" });
  await assert.rejects(openGpt(bytesSource(new Uint8Array(MIB))), { code: "not-gpt" });
  await assert.rejects(openGpt(emptySource), { code: "not-gpt" });
  await assert.rejects(openGpt(bytesSource(disk().subarray(0, 600))), { code: "not-gpt" });
});

test("a disk that has grown has its backup in the wrong place; a cut one has none", async () => {
  const grown = new Uint8Array(9 * MIB);
  grown.set(disk());
  const { gpt, findings } = await checkGpt(bytesSource(grown));
  assert.ok(gpt.backup.valid);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["gpt-mbr", "gpt-backup-place"],
  );
  await assert.rejects(openGpt(bytesSource(disk().subarray(0, 7 * MIB))), { code: "gpt-header" });
});

/** The sample with one field of both tables' header or first entry overwritten, checksums right. */
function forged(key: keyof typeof RawGptHeader.fields | keyof typeof RawGptEntry.fields, hexBytes: string): Uint8Array {
  const bytes = disk();
  const header = RawGptHeader.fields as Record<string, { offset: number } | undefined>;
  const entry = RawGptEntry.fields as Record<string, { offset: number } | undefined>;
  const places = header[key] === undefined ? [1024, bytes.length - 33 * 512] : [512, bytes.length - 512];
  const { offset } = header[key] ?? entry[key]!; // one of the two has it
  for (const place of places) bytes.set(fromHex(hexBytes), place + offset);
  resum(bytes, 512);
  return bytes;
}

test("hostile numbers behind right checksums", async () => {
  const cases: [...Parameters<typeof forged>, code: string][] = [
    ["revision", "00000200", "gpt-revision"],
    ["headerSize", "5b000000", "gpt-header"],
    ["headerSize", "01020000", "gpt-header"],
    ["headerSize", "ffffffff", "gpt-header"],
    ["myLba", "0200000000000000", "gpt-header"],
    ["myLba", "ffffffffffffffff", "too-large"],
    ["entryCount", "01040000", "gpt-header"],
    ["entryCount", "ffffffff", "gpt-header"],
    ["entrySize", "00000000", "gpt-header"],
    ["entrySize", "7f000000", "gpt-header"],
    ["entrySize", "00200000", "gpt-header"],
    ["entriesLba", "ffffffffffff1f00", "gpt-header"],
    ["entriesLba", "ff3f000000000000", "gpt-header"],
    ["lastUsableLba", "0040000000000000", "gpt-header"],
    ["firstUsableLba", "0040000000000000", "gpt-header"],
    ["startingLba", "0100000000000000", "gpt-partition"],
    ["startingLba", "ffff000000000000", "gpt-partition"],
    ["endingLba", "ffffffffffff1f00", "gpt-partition"],
    ["endingLba", "ffffffffffffffff", "too-large"],
  ];
  for (const [key, value, code] of cases)
    await assert.rejects(openGpt(bytesSource(forged(key, value))), { code }, `${key} ${value}`);
});

test("an absurd alternate place is a missing backup", async () => {
  const { gpt } = await checkGpt(bytesSource(forged("alternateLba", "ffffffffffff1f00")));
  assert.equal(gpt.backup.valid, false);
});

test("overlaps, duplicates and differences are told", async () => {
  const overlapping = disk();
  for (const at of [1024, overlapping.length - 33 * 512]) {
    const end = at + 128 + RawGptEntry.fields.endingLba.offset;
    overlapping.copyWithin(end, at + RawGptEntry.fields.endingLba.offset, at + RawGptEntry.fields.endingLba.offset + 8);
    const start = at + 128 + RawGptEntry.fields.startingLba.offset;
    overlapping.copyWithin(
      start,
      at + RawGptEntry.fields.startingLba.offset,
      at + RawGptEntry.fields.startingLba.offset + 8,
    );
    overlapping.copyWithin(at + 128 + 16, at + 16, at + 32); // GUID
  }
  resum(overlapping, 512);
  const { findings } = await checkGpt(bytesSource(overlapping));
  assert.deepEqual(
    findings.map(({ message }) => message),
    ["partition 1 and partition 2 overlap at byte 1048576", `partitions 1 and 2 both have GUID ${guid(1)}`],
  );

  const different = disk();
  different.set(swapGuid(parseUuid(guid(77))), different.length - 33 * 512 + 16);
  resum(different, 512);
  const report = await checkGpt(bytesSource(different));
  assert.deepEqual(
    report.findings.map(({ code }) => code),
    ["gpt-tables-differ"],
  );
});

test("the first sector is looked at", async () => {
  const codes = async (change: (bytes: Uint8Array) => void) => {
    const bytes = disk();
    change(bytes);
    return (await checkGpt(bytesSource(bytes))).findings.map(({ message }) => message);
  };
  const { partition0, partition1, signature } = RawMbr.fields;
  assert.match((await codes((bytes) => bytes.fill(0, signature.offset, 512)))[0]!, /signature/);
  assert.match((await codes((bytes) => bytes.fill(0, partition0.offset, signature.offset)))[0]!, /type 0xee/);
  assert.match((await codes((bytes) => bytes.fill(0x83, partition1.offset, partition1.offset + 16)))[0]!, /hybrid/);
});

test("fuzz: fields set to their bounds, with right and wrong checksums, give a table or one of our errors", async () => {
  const places = fc.constantFrom(
    ...Object.values(RawMbr.fields).map((field) => ({ at: 0, field })),
    ...Object.values(RawGptHeader.fields).flatMap((field) => [
      { at: 512, field },
      { at: SAMPLE.diskSize - 512, field },
    ]),
    ...Object.values(RawGptEntry.fields).flatMap((field) => [
      { at: 1024, field },
      { at: 1024 + 128, field },
      { at: SAMPLE.diskSize - 33 * 512, field },
    ]),
  );
  const change = fc.record({
    place: places,
    first: fc.constantFrom(0, 1, 2, 33, 34, 127, 128, 254, 255),
    rest: fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff),
  });
  const pristine = disk();
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.boolean(), async (changes, right) => {
      const bytes = pristine.slice();
      for (const { place, first, rest } of changes) {
        const start = place.at + place.field.offset;
        bytes.fill(rest, start, start + place.field.size);
        bytes[start] = first;
      }
      if (right) resum(bytes, 512);
      let read = 0;
      const source = {
        size: bytes.length,
        async read(offset: number, length: number) {
          read += length;
          return bytesSource(bytes).read(offset, length);
        },
      };
      try {
        const { gpt } = await checkGpt(source);
        for (const { start, size } of gpt.partitions) assert.ok(size > 0 && start + size <= bytes.length);
      } catch (error) {
        assert.ok(isAshlarError(error), String(error));
      }
      assert.ok(read < 2 * 4 * MIB + 16384, `${read} bytes read`);
    }),
    { numRuns: 400 },
  );
});
