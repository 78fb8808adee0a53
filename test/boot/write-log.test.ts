// Every write of one update in a guest, the ESP and /var included, as QEMU saw them: at each of them the power may go, with what
// was not flushed there or not. What is started then is the old release or the new one, whole. With --long.
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { productLine } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { cutEverywhere } from "../support/write-log.ts";
import { startMachine } from "./machine.ts";

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
  const found = await cutEverywhere(base, log, [v1.rootHash, v2.rootHash], disk);
  assert.ok(found.old > 0 && found.new > 0, JSON.stringify(found));
  t.diagnostic(`${JSON.stringify(found)}, no failure`);
});
