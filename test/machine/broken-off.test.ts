// Runs that were broken off between the two names of an entry: what they held back is started by nobody, told, and gone on with.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { collectGarbage, machineStatus, recordBoot, rollback, upgrade } from "../../core/src/ops/machine/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { type Fleet, fleet } from "../support/fleet.ts";
import { espOf } from "../support/machines.ts";

/** As a power cut leaves an entry whose name is being changed: it is no PE image. */
async function holdBack({ machine }: Fleet, name: string, isNameLost = false): Promise<void> {
  const esp = await espOf(machine.device);
  await esp.overwrite(`EFI/Linux/${name}`, 0, encodeUtf8("mz"));
  if (isNameLost) await esp.rename(`EFI/Linux/${name}`, "EFI/Linux/SAMPLE~1.EFI");
}

async function reboot({ machine }: Fleet): Promise<string> {
  const { version } = await machine.boot();
  await machine.bless();
  await recordBoot(machine);
  return version;
}

const names = async ({ machine }: Fleet) => (await machine.entries()).map(({ name }) => name).sort();

for (const isNameLost of [false, true]) {
  const how = isNameLost ? ", its long name lost" : "";
  test(`what was being taken back is taken back by the next rollback, and can be gone to later${how}`, async () => {
    const one = await fleet();
    const { machine, environment } = one;
    await one.release("2");
    await upgrade(machine, environment);
    await holdBack(one, "sample_2+3.efi", isNameLost);
    assert.equal(await reboot(one), "1");
    const { ashlar } = await machineStatus(machine);
    assert.match(ashlar.problems.map(({ message }) => message).join(), /sample.*broken off/i);
    assert.match((await rollback(machine)).message, /2 was staged and is not started; 1 stays/);
    assert.equal(await reboot(one), "1");
    assert.equal((await rollback(machine)).to.imageVersion, "2");
    assert.deepEqual(await names(one), ["sample_1.efi", "sample_2+3.efi"]);
    assert.equal(await reboot(one), "2");
    assert.deepEqual((await machineStatus(machine)).ashlar.problems, []);
  });

  test(`what an update was about to name is named by the next${how}`, async () => {
    const one = await fleet();
    const { machine, environment } = one;
    await one.release("2");
    await upgrade(machine, environment);
    await holdBack(one, "sample_2+3.efi", isNameLost);
    assert.equal(await reboot(one), "1");
    await upgrade(machine, environment, { force: true });
    assert.deepEqual(await names(one), ["sample_1.efi", "sample_2+3.efi"]);
    assert.equal(await reboot(one), "2");
  });
}

test("a rollback to a release that failed goes on", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  await one.release("2");
  await upgrade(machine, environment);
  for (let boots = 0; boots < 4; boots++) await machine.boot();
  await recordBoot(machine);
  await holdBack(one, "sample_2+0-3.efi");
  assert.equal((await rollback(machine)).to.imageVersion, "2");
  assert.deepEqual(await names(one), ["sample_1.efi", "sample_2+3.efi"]);
});

test("what was staged with the root that runs, and another UKI, is taken back", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  await upgrade(machine, environment);
  await one.release("1", {}, { initrd: new Uint8Array(1000) });
  assert.equal((await upgrade(machine, environment)).staged?.change, "uki");
  const booted = (await machine.entries()).find(({ counter }) => counter === undefined)?.name;
  await rollback(machine);
  assert.equal((await machine.boot()).name, booted);
});

test("what starts no root of a slot is garbage, held back or not", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  await one.release("2");
  await upgrade(machine, environment);
  const file = await (await espOf(machine.device)).open("EFI/Linux/sample_2+3.efi");
  const uki = Uint8Array.from(await file.read(0, file.size));
  await one.release("3");
  await upgrade(machine, environment);
  const garbage = ["sample_2+0-2.efi", "sample_2+0-3.efi"];
  const esp = await espOf(machine.device);
  for (const name of garbage) await esp.write(`EFI/Linux/${name}`, bytesSource(uki));
  await holdBack(one, "sample_2+0-3.efi");
  const paths = garbage.map((name) => `EFI/Linux/${name}`);
  assert.deepEqual((await collectGarbage(machine, { dryRun: true })).esp, paths);
  await collectGarbage(machine);
  assert.deepEqual((await machineStatus(machine)).ashlar.problems, []);
  assert.deepEqual(await names(one), ["sample_1.efi", "sample_3+3.efi"]);
});
