// Debian trixie: systemd 257, Linux 6.12.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ashlar } from "../support/ashlar.ts";
import { boot, buildDisk, proveFirstBoot, proveHashTree, proveSecondBoot } from "./proof.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";

test("a Debian trixie image boots from a verified root", async (t) => {
  const built = await buildDisk(t, "trixie");
  assert.equal(ashlar(["verify", built.disk, "--quiet"]).status, 0);
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
