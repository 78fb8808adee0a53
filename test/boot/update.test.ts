// Updates of a running machine, end to end: a registry, firmware, systemd-boot, the kernel. What boots is what was signed.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { productLine } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { startMachine } from "./machine.ts";

/** The kernel finds no init and panics; a second later it starts again. */
const PANICS = ["--karg", "rdinit=/nothing", "--karg", "panic=1"];
const count = (text: string, pattern: RegExp): number => [...text.matchAll(pattern)].length;

test("an update that is confirmed, and one that panics and falls back", {
  skip: missingPeers(PROGRAMS.go),
}, async (t) => {
  const line = await productLine(t, "trixie");
  const v1 = await line.build("1");
  const v2 = await line.build("2");
  await line.release("2");
  const disk = join(line.folder, "disk.img");
  await line.install("1", disk);
  await using machine = await startMachine(t, line, disk, "machine");
  const { guest } = machine;
  await machine.settle();

  await t.test("what was installed runs, and counts as good", async () => {
    await machine.assertRuns(v1, "ashlar-test_1.efi");
    assert.deepEqual((await machine.status()).problems, []);
  });
  await t.test("the new release is staged while the old one runs", async () => {
    await guest.ok("echo mine > /etc/local-change && echo kept > /var/kept");
    await machine.upgrade("--check", 10);
    await machine.upgrade();
    assert.deepEqual(await machine.entries(), ["ashlar-test_1.efi", "ashlar-test_2+3.efi"]);
    const { staged } = await machine.status();
    assert.deepEqual([staged?.imageVersion, staged?.rootHash, staged?.triesLeft], ["2", v2.rootHash, 3]);
  });
  await guest.ok("echo late > /etc/late-change && rm /etc/motd");
  await machine.reboot();
  await t.test("it boots, is found healthy, and systemd confirms it", async () => {
    await machine.assertRuns(v2, "ashlar-test_2.efi");
    assert.equal((await machine.status()).rollback?.imageVersion, "1");
    assert.match(await guest.ok("ashlar history"), /good/);
  });
  await t.test("local changes came along, also those made after it was staged", async () => {
    assert.equal(await guest.ok("cat /etc/local-change /etc/late-change /var/kept"), "mine\nlate\nkept");
    assert.notEqual((await guest.run("test -e /etc/motd")).status, 0);
    const diff = await guest.ok("ashlar etc diff", 300_000);
    for (const path of ["local-change", "late-change", "motd"]) assert.match(diff, new RegExp(path));
  });

  const v3 = await line.build("3", PANICS);
  await line.release("3");
  await machine.upgrade();
  assert.deepEqual(await machine.entries(), ["ashlar-test_2.efi", "ashlar-test_3+3.efi"]);
  const before = count(guest.output(), /Kernel panic/g);
  await machine.reboot(3);
  await t.test("a release that panics is tried three times, then the old one runs again", async () => {
    assert.equal(count(guest.output(), /Kernel panic/g) - before, 3);
    await machine.assertRuns(v2, "ashlar-test_2.efi");
  });
  await t.test("status tells it, and the release is not tried again", async () => {
    const { refused } = await machine.status();
    assert.deepEqual(
      refused.map(({ imageVersion }) => imageVersion),
      ["3"],
      JSON.stringify(refused),
    );
    await machine.upgrade();
    const { staged } = await machine.status();
    assert.equal(staged, null, `${v3.rootHash} is not staged again`);
  });
  await guest.powerOff();
});
