// Power cuts while a machine updates itself: the emulator is killed at any moment, and the next boot runs the old release or
// the new one, whole. Five in CI, fifty with --long.
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { productLine } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { type Machine, startMachine } from "./machine.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
/** ASHLAR_RUNS: for an evening, or a night. */
const CUTS = Number(process.env["ASHLAR_RUNS"] ?? (isLong ? 50 : process.env["CI"] ? 5 : 0));
const SKIP = CUTS === 0 ? "slow: in CI, or with --long" : missingPeers(PROGRAMS.go);
/** Seed of the moments, so that a run can be done again; ASHLAR_SEED is what the tests of properties take, too. */
const SEED = Number(process.env["ASHLAR_SEED"] ?? Date.now() % 1_000_000);

/** Numbers between 0 and 1 (Park and Miller's generator; its product fits a double). */
function moments(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

const pause = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));

test(`${CUTS} power cuts during updates`, { skip: SKIP }, async (t) => {
  const line = await productLine(t, "trixie");
  const [v1, v2] = [await line.build("1"), await line.build("2")];
  await line.release("2");
  const [disk, base] = [join(line.folder, "disk.img"), join(line.folder, "base.img")];
  await line.install("1", disk);
  t.diagnostic(`seed ${SEED}`);
  const nextMoment = moments(SEED);

  /** Starts what is on the disk; which release it is, and that it is whole. */
  async function start(name: string): Promise<{ machine: Machine; runs: "old" | "new" }> {
    const machine = await startMachine(t, line, disk, name);
    await machine.settle();
    const { root } = await machine.status();
    const runs = root?.rootHash === v1.rootHash ? "old" : "new";
    if (runs === "old") await machine.assertRuns(v1, "ashlar-test_1.efi");
    else await machine.assertRuns(v2, "ashlar-test_2.efi");
    return { machine, runs };
  }

  // How long an update takes here, today; cut when it says that it is done.
  let duration = 0;
  {
    await using first = (await start("first")).machine;
    await first.guest.ok("sync");
    copyFileSync(disk, base); // the machine is idle: what it has not written is no loss
    const began = performance.now();
    await first.upgrade();
    duration = performance.now() - began;
  }
  const outcomes: string[] = [];
  for (let cut = 1; cut <= CUTS; cut++) {
    const { machine, runs } = await start(`cut-${cut}`);
    outcomes.push(runs);
    if (cut === 1) assert.equal(runs, "new"); // what was staged when the power went is what runs
    await using _ = machine;
    if (runs === "new") {
      await machine.guest.kill();
      copyFileSync(base, disk);
      const again = await start(`again-${cut}`);
      await using other = again.machine;
      assert.equal(again.runs, "old");
      await cutDuring(other, duration);
    } else await cutDuring(machine, duration);
  }

  async function cutDuring({ guest }: Machine, limit: number): Promise<void> {
    const update = guest.run("ashlar upgrade", 2 * limit + 600_000).catch(() => undefined);
    await pause(nextMoment() * limit);
    await guest.kill();
    await update;
  }

  await t.test("after the last cut an update goes through, and the new release runs", async () => {
    const { machine, runs } = await start("last");
    await using _ = machine;
    outcomes.push(runs);
    if (runs === "old") {
      await machine.upgrade();
      await machine.reboot();
    }
    await machine.assertRuns(v2, "ashlar-test_2.efi");
    await machine.guest.powerOff();
  });
  t.diagnostic(`an update takes ${Math.round(duration / 1000)} s; what ran after each cut: ${outcomes.join(" ")}`);
});
