import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource } from "../../source/index.ts";
import {
  encodeVeritySuperblock,
  parseVeritySuperblock,
  RawVeritySuperblock,
  readVeritySuperblock,
  type VeritySuperblock,
} from "./index.ts";

const SAMPLE: VeritySuperblock = {
  uuid: "01234567-89ab-cdef-0123-456789abcdef",
  algorithm: "sha256",
  dataBlockSize: 4096,
  hashBlockSize: 4096,
  dataBlocks: 1000,
  salt: Uint8Array.of(1, 2, 3),
};

const blockSizes = fc.integer({ min: 9, max: 19 }).map((bits) => 2 ** bits);
const superblocks: fc.Arbitrary<VeritySuperblock> = fc.record(
  {
    uuid: fc.uuid(),
    algorithm: fc.constantFrom("sha256", "sha512"),
    dataBlockSize: blockSizes,
    hashBlockSize: blockSizes,
    dataBlocks: fc.integer({ min: 1, max: 2 ** 34 }),
    salt: fc.uint8Array({ maxLength: 256 }),
  },
  { noNullPrototype: true },
);

/** The sample with some fields overwritten by raw bytes. */
function patched(changes: Partial<Record<keyof typeof RawVeritySuperblock.fields, string>>): Uint8Array {
  const bytes = encodeVeritySuperblock(SAMPLE);
  for (const [key, value] of Object.entries(changes))
    bytes.set(fromHex(value), RawVeritySuperblock.fields[key as keyof typeof changes].offset);
  return bytes;
}

test("a superblock survives encoding and parsing", () => {
  fc.assert(
    fc.property(superblocks, (superblock) => {
      const bytes = encodeVeritySuperblock(superblock);
      assert.equal(bytes.length, 512);
      assert.deepEqual(parseVeritySuperblock(bytes), superblock);
    }),
  );
});

test("each fault of a superblock has its error", () => {
  const cases: [changes: Parameters<typeof patched>[0], kind: string, code: string][] = [
    [{ magic: "00" }, "FormatError", "bad-magic"],
    [{ version: "02000000" }, "UnsupportedError", "verity-version"],
    [{ hashType: "00000000" }, "UnsupportedError", "verity-hash-type"],
    [{ hashType: "02000000" }, "FormatError", "verity-hash-type"],
    [{ algorithm: `73686131${"00".repeat(28)}` }, "UnsupportedError", "verity-algorithm"],
    [{ algorithm: "ff".repeat(32) }, "UnsupportedError", "verity-algorithm"],
    [{ dataBlockSize: "00010000" }, "FormatError", "bad-block-size"],
    [{ dataBlockSize: "00000000" }, "FormatError", "bad-block-size"],
    [{ hashBlockSize: "00001000" }, "FormatError", "bad-block-size"],
    [{ hashBlockSize: "00180000" }, "FormatError", "bad-block-size"],
    [{ dataBlocks: "0000000000000000" }, "FormatError", "verity-data-blocks"],
    [{ dataBlocks: "ffffffffffff1f00" }, "FormatError", "too-large"],
    [{ dataBlocks: "ffffffffffffffff" }, "FormatError", "too-large"],
    [{ saltSize: "0101" }, "FormatError", "verity-salt"],
  ];
  for (const [changes, kind, code] of cases)
    assert.throws(() => parseVeritySuperblock(patched(changes)), { name: kind, code }, JSON.stringify(changes));
});

test("a device that is too short for a superblock is truncated", async () => {
  await assert.rejects(readVeritySuperblock(bytesSource(encodeVeritySuperblock(SAMPLE).subarray(0, 511))), {
    code: "truncated",
  });
});

test("the encoder refuses what a superblock cannot say", () => {
  for (const change of [
    { dataBlockSize: 256 },
    { dataBlockSize: 3072 },
    { hashBlockSize: 1024 * 1024 },
    { dataBlocks: 0 },
    { dataBlocks: 1.5 },
    { dataBlocks: 2 ** 53 - 1 },
    { salt: new Uint8Array(257) },
    { algorithm: "toString" as "sha256" },
  ])
    assert.throws(() => encodeVeritySuperblock({ ...SAMPLE, ...change }), RangeError, JSON.stringify(change));
});

test("fuzz: fields set to their bounds give a value or one of our errors", () => {
  const fields = Object.values(RawVeritySuperblock.fields);
  const change = fc.record({
    field: fc.constantFrom(...fields),
    first: fc.integer({ min: 0, max: 255 }),
    rest: fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4 }), fc.integer({ min: 0, max: 512 }), (changes, cut) => {
      const bytes = encodeVeritySuperblock(SAMPLE);
      for (const { field, first, rest } of changes) {
        bytes.fill(rest, field.offset, field.offset + field.size);
        bytes[field.offset] = first;
      }
      for (const input of [bytes, bytes.subarray(0, cut)])
        try {
          const { dataBlocks, salt } = parseVeritySuperblock(input);
          assert.ok(dataBlocks > 0 && salt.length <= 256);
        } catch (error) {
          assert.ok(isAshlarError(error), String(error));
        }
    }),
    { numRuns: 1000 },
  );
});
