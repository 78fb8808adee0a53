// Debian trixie: systemd 257, Linux 6.12.
import assert from "node:assert/strict";
import { test } from "node:test";
import { boot, buildDisk, installDisk, proveFirstBoot, proveHashTree, proveSecondBoot } from "./proof.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";

test("a Debian trixie image, installed on a disk, boots from a verified root", async (t) => {
  const built = installDisk(await buildDisk(t, "trixie")); // which verifies what is on the disk
  const machineId = await proveFirstBoot(t, built);
  await proveSecondBoot(t, built, machineId);
  await proveHashTree(t, built);
});

test("--etc transient forgets changes at reboot", { skip: isLong ? false : "slow: --long" }, async (t) => {
  const built = await buildDisk(t, "trixie", ["--etc", "transient"]);
  {
    await using guest = await boot(t, built, "first boot");
    await guest.ok("echo mine > /etc/local-change && echo kept > /var/kept && sync");
    await guest.powerOff();
  }
  await using guest = await boot(t, built, "second boot");
  assert.equal(await guest.ok("cat /var/kept"), "kept");
  assert.notEqual((await guest.run("test -e /etc/local-change")).status, 0);
  await guest.powerOff();
});
