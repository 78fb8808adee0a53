// A power cut while entries are renamed and removed, wherever their names lie in the sectors of the folder: FAT may lose a long name
// and keep the short one. What was not confirmed is never started without a counter.
import { before, test } from "node:test";
import { rollbackTo } from "../../core/src/ops/update/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { cutEverywhere, hashOf, stageWith } from "../support/crash-points.ts";
import { boot, espOf, installed, machineOf } from "../support/machines.ts";
import type { MemoryDevice } from "../support/memory-device.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

/** Of 16 entries in a sector of a folder a file with a name of up to 13 characters takes 2. */
const SHIFTS = 8;
const environment = await publishEnvironment();
const stage = stageWith(environment);
let v1: SampleRelease;
let v2: SampleRelease;
let v3: SampleRelease;
let fresh: MemoryDevice;
before(async () => {
  const small = { initrd: noise(20_000, "initrd"), kernel: noise(10_000, "kernel") };
  const make = (version: string) =>
    systemRelease({ "etc/version": noise(9000, version) }, environment, { ...small, version });
  [v1, v2, v3] = [await make("1"), await make("2"), await make("3")];
  fresh = await installed(v1, environment);
});

/** Machines that run version 1 and have staged 2, with other files in front of its entry. */
async function* shifted(): AsyncGenerator<MemoryDevice> {
  for (let shift = 0; shift < SHIFTS; shift++)
    for (const name of ["", "a-name-of-two-parts"]) {
      const device = fresh.copy();
      const esp = await espOf(device);
      for (let number = 0; number < shift; number++)
        await esp.write(`EFI/Linux/note-${number}.txt`, bytesSource(noise(10, "note")));
      if (name !== "") await esp.write(`EFI/Linux/${name}`, bytesSource(noise(10, "note")));
      await stage(v2, device, v1);
      yield device;
    }
}

async function tried(device: MemoryDevice, tries: number): Promise<void> {
  for (let number = 0; number < tries; number++) await boot(device, { isGood: false });
}

const rollback = (running: SampleRelease, rootHash?: string) => async (disk: MemoryDevice) =>
  rollbackTo(await machineOf(disk, hashOf(running)), { rootHash });

test("a rollback to a release that failed", async () => {
  for await (const device of shifted()) {
    await tried(device, 3);
    const run = rollback(v1);
    await cutEverywhere("to failed", { from: device, old: v1, wanted: v2, run, again: run, stage });
  }
});

test("what was staged is taken back", async () => {
  for await (const device of shifted())
    await cutEverywhere("taken back", {
      from: device,
      old: v2,
      wanted: v1,
      counted: [v2],
      run: rollback(v1, hashOf(v1)),
      stage,
    });
});

test("an update over a release that failed", async () => {
  for await (const device of shifted()) {
    await tried(device, 3);
    const run = (disk: MemoryDevice) => stage(v3, disk, v1);
    await cutEverywhere("over failed", { from: device, old: v1, wanted: v3, run, stage });
  }
});

test("an update over a release that has tries left, and is not what runs", async () => {
  for await (const device of shifted()) {
    await tried(device, 1);
    const run = (disk: MemoryDevice) => stage(v3, disk, v1);
    await cutEverywhere("over tried", { from: device, old: v1, wanted: v3, first: v2, counted: [v2, v3], run, stage });
  }
});
