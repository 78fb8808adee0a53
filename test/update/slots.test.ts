// Which slot is which, and which runs, on disks as other programs leave them; the files of an ESP on a disk in memory.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { encodeUtf8, type Uuid } from "../../core/src/bytes/index.ts";
import { openFat } from "../../core/src/formats/fat/index.ts";
import { encodeGpt, type GptPartition, openGpt } from "../../core/src/formats/gpt/index.ts";
import {
  fileContent,
  installRelease,
  readBootEntries,
  readSlots,
  runningSlot,
} from "../../core/src/ops/update/index.ts";
import { bytesSource, sliceSource } from "../../core/src/source/index.ts";
import { fatFiles } from "../support/fat-files.ts";
import { type MemoryDevice, memoryDevice } from "../support/memory-device.ts";
import { publishEnvironment } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const environment = await publishEnvironment();
let installed: MemoryDevice;
let rootHash: string;
before(async () => {
  const release = await systemRelease({ "etc/conf": "1\n" }, environment);
  rootHash = release.release.rootHash;
  installed = memoryDevice(release.files.get("sample_1.raw")!.length);
  await installRelease(fileContent(release, environment), installed, environment);
});

/** The disk with another partition table. */
async function changed(change: (partitions: GptPartition[]) => GptPartition[]): Promise<MemoryDevice> {
  const device = installed.copy();
  const { sectorSize, diskGuid, partitions } = await openGpt(device);
  const gpt = encodeGpt({ sectorSize, diskSize: device.size, diskGuid, partitions: change([...partitions]) });
  device.put(0, gpt.primary);
  device.put(gpt.backup.offset, gpt.backup.bytes);
  return device;
}

const replaced = (index: number, fields: Partial<GptPartition>) => (partitions: GptPartition[]) =>
  partitions.map((partition, i) => (i === index ? { ...partition, ...fields } : partition));

test("a fresh disk: A runs, B is free", async () => {
  const slots = await readSlots(installed, "x86-64");
  const { running, inactive } = runningSlot(slots, rootHash);
  assert.deepEqual([running.name, inactive.name], ["a", "b"]);
  assert.deepEqual([running.rootHash, inactive.rootHash], [rootHash, undefined]);
  assert.deepEqual(
    [running, inactive].map(({ root, verity, signature }) => [root.number, verity.number, signature?.number]),
    [
      [2, 3, 4],
      [5, 6, 7],
    ],
  );
});

test("labels that others wrote, and partitions that systemd-sysupdate has under way", async () => {
  const foreign = "12345678-1234-4123-8123-123456789abc" as Uuid;
  for (const [index, fields, other] of [
    [1, { name: "My OS" }, undefined],
    [1, { name: "_empty" }, undefined], // what runs is told by its root hash alone
    [4, { name: "PRT#sample_2", attributes: 0n }, undefined],
    [4, { name: "PND#sample_2", attributes: 0n, typeGuid: foreign }, undefined],
  ] as const) {
    const slots = await readSlots(await changed(replaced(index, fields)), "x86-64");
    const { running, inactive } = runningSlot(slots, rootHash);
    assert.deepEqual([running.name, inactive.name, inactive.rootHash], ["a", "b", other]);
  }
});

test("a disk without two slots", async () => {
  const refused = { kind: "UnsupportedError", code: "no-slots" };
  await assert.rejects(readSlots(installed, "arm64"), refused);
  await assert.rejects(readSlots(await changed((all) => all.slice(0, 4)), "x86-64"), refused);
  await assert.rejects(readSlots(await changed((all) => all.filter((_, i) => i !== 5)), "x86-64"), refused);
  await assert.rejects(readSlots(await changed((all) => all.slice(1)), "x86-64"), {
    kind: "FormatError",
    code: "no-esp",
  });
  const slots = await readSlots(installed, "x86-64");
  assert.throws(() => runningSlot(slots, "0".repeat(64)), { kind: "PolicyError", code: "not-this-disk" });
});

test("files of the ESP are changed, and the volume stays whole", async () => {
  const device = installed.copy();
  const { esp } = await readSlots(device, "x86-64");
  const files = await fatFiles(device, esp);
  const free = await files.free();
  const [uki] = (await readBootEntries(files)).entries;
  assert.equal(uki?.name, "sample_1.efi");
  assert.equal(uki.rootHash, rootHash);
  const content = noise(300_001, "file");
  await files.write("EFI/Linux/.temporary", bytesSource(content));
  await files.rename("EFI/Linux/.temporary", "EFI/Linux/a name that is rather long+3.efi");
  for (let i = 0; i < 60; i++) await files.write(`EFI/Linux/file ${i} of many.efi`, bytesSource(encodeUtf8(`${i}`)));
  const volume = () => openFat(sliceSource(device, esp.start, esp.size));
  await volume(); // throws for chains that are crossed or broken
  const opened = await files.open("EFI/Linux/A NAME THAT IS RATHER LONG+3.EFI");
  assert.deepEqual(Buffer.from(await opened.read(0, opened.size)), content);
  const { entries, unusable } = await readBootEntries(files);
  assert.deepEqual([entries.length + unusable.length, unusable[0]?.name], [62, "a name that is rather long+3.efi"]);
  for (const { name } of unusable) await files.remove(`EFI/Linux/${name}`);
  assert.deepEqual(await files.list("EFI/Linux"), [{ name: "sample_1.efi", size: uki.size }]);
  assert.ok(free - (await files.free()) <= 8 * 4096, "a directory that grew stays so");
  await volume();
  await assert.rejects(files.remove("EFI/Linux/none.efi"), { code: "not-found" });
  await assert.rejects(files.write("EFI/Linux/big", { ...bytesSource(new Uint8Array(0)), size: device.size }), {
    code: "no-space",
  });
});
