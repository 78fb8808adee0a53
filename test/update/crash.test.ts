// A power cut at every write of an update: what was flushed is there, of the rest anything. What is started then is exactly the old
// release or exactly the new one, and the next update completes.
import { before, test } from "node:test";
import { openStoredRelease, pushReleases } from "../../core/src/ops/publish/index.ts";
import { rollbackTo, stageRelease, storedContent } from "../../core/src/ops/update/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { cutEverywhere, hashOf, stageWith } from "../support/crash-points.ts";
import { boot, espOf, installed, machineOf } from "../support/machines.ts";
import type { MemoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const environment = await publishEnvironment();
const COMMON = { "usr/bin/tool": noise(300_000, "tool"), "usr/share/zeros": new Uint8Array(100_000) };
let v1: SampleRelease;
let v2: SampleRelease;
let rebuilt: SampleRelease;
let fresh: MemoryDevice;
const repository: MemoryRepository = memoryRepository();
before(async () => {
  const small = { initrd: noise(150_000, "initrd"), kernel: noise(100_000, "kernel") };
  v1 = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment, small);
  rebuilt = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment, { ...small, kargs: "quiet" });
  const moved = { "a-new-file": noise(60_000, "new"), "etc/conf": "a = 2\n" };
  v2 = await systemRelease({ ...COMMON, ...moved }, environment, { ...small, version: "2" });
  fresh = await installed(v1, environment);
  await pushReleases([v1], repository, { tag: "1" }, environment);
  await pushReleases([v2], repository, { tag: "2" }, environment);
});

const stage = stageWith(environment);

async function stageStored(tag: string, device: MemoryDevice, running: SampleRelease): Promise<void> {
  const stored = await openStoredRelease(repository, await repository.resolve({ tag }), environment);
  try {
    const machine = await machineOf(device, hashOf(running));
    await stageRelease(storedContent(stored, environment), machine, environment);
  } finally {
    await stored.close();
  }
}

test("an update into a free slot, from a repository", async (t) => {
  const run = (device: MemoryDevice) => stageStored("2", device, v1);
  t.diagnostic(await cutEverywhere("free slot", { from: fresh, old: v1, wanted: v2, run, stage }));
});

test("an update whose entry has its long name in one sector and its short name in the next", async (t) => {
  const device = fresh.copy();
  const esp = await espOf(device);
  // Of 16 in a sector: 2 of the folder, 2 of the first entry, 2 of each of 3 others, 4 of the temporary name; 3 are needed.
  const others = Array.from({ length: 9 }, (_, i) => `EFI/Linux/note-${i}.txt`);
  for (const path of others) await esp.write(path, bytesSource(noise(10, "note")));
  for (const path of others.slice(3)) await esp.remove(path); // the folder has a second sector now
  const run = (disk: MemoryDevice) => stage(v2, disk, v1);
  t.diagnostic(await cutEverywhere("two sectors", { from: device, old: v1, wanted: v2, run, stage }));
});

test("a release that failed gets its tries back", async (t) => {
  const device = fresh.copy();
  const esp = await espOf(device);
  // With these the new name lies in two sectors as well.
  for (const number of [1, 2, 3, 4]) await esp.write(`EFI/Linux/note-${number}.txt`, bytesSource(noise(10, "note")));
  await stage(v2, device, v1);
  for (let tries = 0; tries < 3; tries++) await boot(device, { isGood: false });
  const run = (disk: MemoryDevice) => stage(v2, disk, v1);
  t.diagnostic(await cutEverywhere("failed", { from: device, old: v1, wanted: v2, run, stage }));
});

test("an update into a slot that holds a release", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true });
  const v3 = await systemRelease({ ...COMMON, "b-new-file": noise(50_000, "3") }, environment, { version: "3" });
  const run = (disk: MemoryDevice) => stage(v3, disk, v2);
  t.diagnostic(await cutEverywhere("used slot", { from: device, old: v2, wanted: v3, run, stage }));
});

test("an update where an older release was chosen in the menu", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true }); // v2 is first; v1 runs all the same
  const v3 = await systemRelease({ ...COMMON, "b-new-file": noise(50_000, "3") }, environment, { version: "3" });
  const run = (disk: MemoryDevice) => stage(v3, disk, v1);
  t.diagnostic(await cutEverywhere("chosen", { from: device, old: v1, wanted: v3, first: v2, run, stage }));
});

test("an update of the UKI alone", async (t) => {
  const run = (device: MemoryDevice) => stage(rebuilt, device, v1);
  t.diagnostic(await cutEverywhere("UKI", { from: fresh, old: v1, wanted: rebuilt, run, stage }));
});

test("a rollback, and a switch to a lower version", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true });
  const back = async (disk: MemoryDevice) => rollbackTo(await machineOf(disk, hashOf(v2)));
  t.diagnostic(
    await cutEverywhere("rollback", { from: device, old: v2, wanted: v1, counted: [], run: back, again: back, stage }),
  );
  const v0 = await systemRelease({ ...COMMON, "etc/conf": "a = 0\n" }, environment, { version: "0" });
  const run = (disk: MemoryDevice) => stage(v0, disk, v2);
  t.diagnostic(await cutEverywhere("lower version", { from: device, old: v2, wanted: v0, run, stage }));
});
