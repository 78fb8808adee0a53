// Debian bookworm: systemd 252, Linux 6.1.
import { test } from "node:test";
import { buildDisk, proveFirstBoot, proveHashTree, proveSecondBoot } from "./proof.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";

test("a Debian bookworm image boots from a verified root", { skip: isLong ? false : "slow: --long" }, async (t) => {
  const built = await buildDisk(t, "bookworm");
  const machineId = await proveFirstBoot(t, built);
  await proveSecondBoot(t, built, machineId);
  await proveHashTree(t, built);
});
