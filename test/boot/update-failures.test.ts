// The other ways in which a release fails, and the ways back; all with --long, since every try is a boot.
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Suite } from "../support/debian.ts";
import { type ProductLine, productLine, SICK } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { type Machine, startMachine } from "./machine.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const SKIP = isLong ? missingPeers(PROGRAMS.go) : "slow: --long";

/** The initrd has no reason to go on, and no job that could time out. */
const HANGS = ["--karg", "rd.systemd.unit=basic.target", "--root-timeout", "60"];

/** Version 1 installed, 2 running and confirmed; `prepare` is run on 1. */
async function updatedMachine(t: TestContext, suite: Suite, prepare = "true") {
  const line = await productLine(t, suite);
  const v1 = await line.build("1");
  const v2 = await line.build("2");
  await line.release("2");
  const disk = join(line.folder, "disk.img");
  await line.install("1", disk);
  const machine = await startMachine(t, line, disk, suite);
  try {
    await machine.settle();
    await machine.assertRuns(v1, "ashlar-test_1.efi");
    await machine.guest.ok(prepare);
    await machine.upgrade();
    await machine.reboot();
    await machine.assertRuns(v2, "ashlar-test_2.efi");
  } catch (error) {
    await machine.guest.kill();
    throw error;
  }
  return { line, machine, v1, v2 };
}

/** Stages a release and lets it fail; ends with the machine on what ran before, and the version refused. */
async function fails(line: ProductLine, machine: Machine, version: string, flags: readonly string[]): Promise<void> {
  await line.build(version, flags);
  await line.release(version);
  await machine.upgrade();
  await machine.reboot(3);
  const entries = await machine.entries();
  assert.ok(entries.includes(`ashlar-test_${version}+0-3.efi`), entries.join(", "));
  const { refused } = await machine.status();
  assert.equal(refused.at(-1)?.imageVersion, version, JSON.stringify(refused));
  await machine.upgrade();
  assert.equal((await machine.status()).staged, null);
}

for (const suite of ["trixie", "bookworm"] as const) {
  test(`${suite}: rollback goes to what ran before, and stays there`, { skip: SKIP }, async (t) => {
    const { machine, v1, v2 } = await updatedMachine(t, suite, "echo one > /etc/mine");
    await using _ = machine;
    const { guest } = machine;
    assert.equal(await guest.ok("cat /etc/mine"), "one");
    await guest.ok("echo two > /etc/mine");
    await guest.ok("ashlar rollback", 300_000);
    await machine.reboot();
    await machine.assertRuns(v1, "ashlar-test_1.efi");
    assert.equal(await guest.ok("cat /etc/mine"), "one"); // each release has its own
    await machine.upgrade(); // which does not go forward again by itself
    assert.equal((await machine.status()).staged, null);
    await machine.reboot();
    await machine.assertRuns(v1, "ashlar-test_1.efi");
    await guest.ok("ashlar rollback", 300_000);
    await machine.reboot();
    await machine.assertRuns(v2, "ashlar-test_2.efi");
    assert.equal(await guest.ok("cat /etc/mine"), "two");
    await guest.powerOff();
  });

  test(`${suite}: a hang in the initrd, and a health check that fails`, { skip: SKIP }, async (t) => {
    const { line, machine, v2 } = await updatedMachine(t, suite);
    await using _ = machine;
    await t.test("a release whose health check fails", async () => {
      await fails(line, machine, "4", ["--karg", SICK]);
      await machine.assertRuns(v2, "ashlar-test_2.efi");
      assert.match(await machine.guest.ok("ashlar history"), /sick|health/);
    });
    await t.test("a release whose initrd hangs", async () => {
      await fails(line, machine, "5", HANGS);
      assert.match(machine.guest.output(), /ashlar: the initrd (?:hangs|failed)/);
      await machine.assertRuns(v2, "ashlar-test_2.efi");
    });
    await machine.guest.powerOff();
  });
}
