// Every write of one update in a guest, the ESP and /var included, as QEMU saw them: at each of them the power may go, with what
// was not flushed there or not. What is started then is the old release or the new one, whole. With --long.
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openFat } from "../../core/src/formats/fat/index.ts";
import type { ReleaseFiles } from "../../core/src/ops/publish/index.ts";
import { espVolume, fileContent, mendEsp, readSlots, stageRelease } from "../../core/src/ops/update/index.ts";
import { sliceSource } from "../../core/src/source/index.ts";
import { bootOracle, type Started } from "../support/boot-oracle.ts";
import { boot, machineOf, started } from "../support/machines.ts";
import type { MemoryDevice } from "../support/memory-device.ts";
import { productLine } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { publishEnvironment } from "../support/releases.ts";
import { cutEverywhere } from "../support/write-log.ts";
import { startMachine } from "./machine.ts";

const environment = await publishEnvironment();

/** The machine starts and confirms what it finds; the ESP is mended, and the update is made again and runs. */
function updateAgain(wanted: ReleaseFiles, [, rootHash]: readonly [string, string]) {
  return async (device: MemoryDevice, found: Started): Promise<void> => {
    const slots = await readSlots(device, "x86-64");
    assert.deepEqual((await mendEsp(espVolume(device, slots.esp))).damaged, []);
    assert.equal(started(bootOracle(device)).rootHash, found.rootHash, "mending changes nothing that is started");
    await boot(device, { isGood: true });
    const machine = await machineOf(device, found.rootHash);
    await stageRelease(fileContent(wanted, environment), machine, environment);
    assert.equal((await boot(device, { isGood: true })).rootHash, rootHash);
    await openFat(sliceSource(device, slots.esp.start, slots.esp.size)); // throws for what is crossed or broken
  };
}

const SKIP = process.env["ASHLAR_LONG"] === "true" ? missingPeers(PROGRAMS.go) : "slow: --long";
test("one update, cut at every write", { skip: SKIP }, async (t) => {
  const line = await productLine(t, "trixie");
  const [v1, v2] = [await line.build("1"), await line.build("2")];
  await line.release("2");
  const [disk, base, log] = [join(line.folder, "disk.img"), join(line.folder, "base.img"), join(line.folder, "writes")];
  await line.install("1", disk);
  copyFileSync(disk, base);
  {
    await using machine = await startMachine(t, line, { file: disk, writeLog: log }, "recorded");
    await machine.settle();
    await machine.upgrade();
    await machine.guest.powerOff();
  }
  const expected = [v1.rootHash, v2.rootHash] as const;
  const goOn = updateAgain(await line.files("2"), expected);
  const found = await cutEverywhere({ base, log, end: disk, expected, every: 100, goOn });
  assert.ok(found.old > 0 && found.new > 0, JSON.stringify(found));
  t.diagnostic(`${JSON.stringify(found)}, no failure`);
});
