/** GPT against sfdisk, fdisk and sgdisk. */
import assert from "node:assert/strict";
import { mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  type EncodedGpt,
  encodeGpt,
  type GptOptions,
  openGpt,
  PARTITION_FLAGS,
  partitionType,
  type SectorSize,
  usableArea,
} from "../../core/src/formats/gpt/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { requireOracle } from "../support/oracle.ts";

const MIB = 1024 * 1024;

function sample(sectorSize: SectorSize): GptOptions {
  return {
    sectorSize,
    diskSize: 64 * MIB,
    diskGuid: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    partitions: [
      {
        typeGuid: partitionType("esp", "x86-64"),
        partitionGuid: "11111111-2222-3333-4444-555555555551",
        start: MIB,
        size: 33 * MIB,
        attributes: 0n,
        name: "esp",
      },
      {
        typeGuid: partitionType("root", "x86-64"),
        partitionGuid: "aabbccdd-0011-2233-4455-66778899eeff",
        start: 34 * MIB,
        size: 8 * MIB,
        attributes: PARTITION_FLAGS.readOnly,
        name: "größe_1.2.3",
      },
      {
        typeGuid: partitionType("root-verity", "x86-64"),
        partitionGuid: "00000000-0000-0000-0123-456789abcdef",
        start: 42 * MIB,
        size: sectorSize,
        attributes: PARTITION_FLAGS.readOnly | PARTITION_FLAGS.noAuto,
        name: "x".repeat(36),
      },
    ],
  };
}

async function withFile(run: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ashlar-gpt-"));
  try {
    await run(join(folder, "disk.raw"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function writeDisk(path: string, diskSize: number, { primary, backup }: EncodedGpt): Promise<void> {
  await writeFile(path, primary);
  await truncate(path, diskSize);
  const file = await open(path, "r+");
  await file.write(backup.bytes, 0, backup.bytes.length, backup.offset);
  await file.close();
}

test("sfdisk accepts our table and reads the same values", async (t) => {
  const sfdisk = requireOracle(t, "sfdisk");
  if (sfdisk === undefined) return;
  await withFile(async (path) => {
    const options = sample(512);
    await writeDisk(path, options.diskSize, encodeGpt(options));
    const verified = await sfdisk.ok(["--verify", path]);
    assert.doesNotMatch(verified.stdout + verified.stderr, /corrupt|mismatch|invalid|overlap/i);
    const { partitiontable: table } = JSON.parse((await sfdisk.ok(["--json", path])).stdout);
    assert.equal(table.label, "gpt");
    assert.equal(table.id.toLowerCase(), options.diskGuid);
    assert.equal(table.firstlba, 34);
    assert.equal(table.lastlba, options.diskSize / 512 - 34);
    for (const [i, partition] of options.partitions.entries()) {
      const found = table.partitions[i];
      assert.equal(found.start * 512, partition.start);
      assert.equal(found.size * 512, partition.size);
      assert.equal(found.type.toLowerCase(), partition.typeGuid);
      assert.equal(found.uuid.toLowerCase(), partition.partitionGuid);
      assert.equal(found.name, partition.name);
    }
    assert.equal(table.partitions[1].attrs, "GUID:60");
    assert.equal(table.partitions[2].attrs, "GUID:60,63");
  });
});

test("our tables are sfdisk's, byte for byte", async (t) => {
  const sfdisk = requireOracle(t, "sfdisk");
  if (sfdisk === undefined) return;
  await withFile(async (path) => {
    const options = sample(512);
    const ours = encodeGpt(options);
    await writeFile(path, "");
    await truncate(path, options.diskSize);
    const usable = usableArea(512, options.diskSize);
    const script = [
      "label: gpt",
      `label-id: ${options.diskGuid}`,
      `first-lba: ${usable.start / 512}`,
      `last-lba: ${usable.end / 512 - 1}`,
      "unit: sectors",
      ...options.partitions.map(({ start, size, typeGuid, partitionGuid, attributes, name }) => {
        const bits = Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (attributes >> BigInt(bit)) & 1n);
        const attrs = bits.length > 0 ? `, attrs="${bits.map((bit) => `GUID:${bit}`).join(" ")}"` : "";
        return `start=${start / 512}, size=${size / 512}, type=${typeGuid}, uuid=${partitionGuid}, name="${name}"${attrs}`;
      }),
    ].join("\n");
    await sfdisk.ok(["--quiet", path], { input: `${script}\n` });
    const theirs = await readFile(path);
    assert.deepEqual(theirs.subarray(0, ours.primary.length), Buffer.from(ours.primary));
    assert.deepEqual(theirs.subarray(ours.backup.offset), Buffer.from(ours.backup.bytes));
    const gpt = await openGpt(bytesSource(theirs));
    assert.ok(gpt.primary.valid && gpt.backup.valid);
    assert.deepEqual(
      gpt.partitions.map(({ number: _, ...rest }) => rest),
      options.partitions,
    );
  });
});

test("sgdisk finds no problem", async (t) => {
  const sgdisk = requireOracle(t, "sgdisk");
  if (sgdisk === undefined) return;
  await withFile(async (path) => {
    const options = sample(512);
    await writeDisk(path, options.diskSize, encodeGpt(options));
    const { stdout } = await sgdisk.ok(["--verify", path]);
    assert.match(stdout, /No problems found/);
  });
});

test("fdisk reads our table with sectors of 4096 bytes", async (t) => {
  const fdisk = requireOracle(t, "fdisk");
  if (fdisk === undefined) return;
  await withFile(async (path) => {
    const options = sample(4096);
    await writeDisk(path, options.diskSize, encodeGpt(options));
    const { stdout, stderr } = await fdisk.ok(["--sector-size", "4096", "--bytes", "-o", "Start,End,UUID", "-l", path]);
    assert.equal(stderr, "");
    assert.match(stdout, /Disklabel type: gpt/);
    assert.ok(stdout.toLowerCase().includes(options.diskGuid));
    for (const { start, size, partitionGuid } of options.partitions)
      assert.match(
        stdout.toLowerCase(),
        new RegExp(`\\s${start / 4096}\\s+${(start + size) / 4096 - 1}\\s+${partitionGuid}`),
      );
  });
});
