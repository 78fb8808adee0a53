// What happens to a machine in its life: updates, failures, rollbacks, and what the agent says of them. No emulator: a model of
// the boot loader and the kernel around the real disk, ESP, records and repository formats.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  auto,
  machineStatus,
  readHistory,
  rollback,
  switchSource,
  upgrade,
  withRun,
} from "../../core/src/ops/machine/index.ts";
import { DAY } from "../support/channels.ts";
import { type Fleet, fleet } from "../support/fleet.ts";
import type { MachineModel } from "../support/machine-model.ts";

/** What the unit does early in each boot. */
const booted = (machine: MachineModel) => withRun(machine, "booted", async () => {});

async function reboot(machine: MachineModel, { good = true } = {}): Promise<string> {
  const { version } = await machine.boot();
  await booted(machine);
  if (good) {
    await machine.bless();
    await booted(machine);
  }
  return version;
}

/** Boots as often as something on trial is started and does not become good; returns what runs in the end. */
async function failUntilOld(machine: MachineModel): Promise<{ version: string; boots: number }> {
  for (let boots = 1; boots < 10; boots++) {
    const { version, counter } = await machine.boot();
    if (counter !== undefined) continue; // it panics, hangs, or is rebooted by its health checks
    await booted(machine);
    return { version, boots };
  }
  throw new Error("no end");
}

const events = async (machine: MachineModel) => (await readHistory(machine.records)).map(({ event }) => event);
const run = ({ machine, environment }: Fleet, options = {}) => upgrade(machine, environment, options);

test("an update is staged, booted on trial, and found good", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  const report = await run(one);
  assert.equal(report.result, "staged");
  assert.equal(report.rebootNeeded, true);
  assert.equal(report.staged?.change, "slot");
  const staged = (await machineStatus(machine)).ashlar;
  assert.equal(staged.booted?.imageVersion, "1");
  assert.equal(staged.staged?.imageVersion, "2");
  assert.equal(staged.staged?.triesLeft, 3);
  assert.equal(staged.rollback, null);
  assert.equal(staged.next, staged.staged?.entry);

  assert.equal(await reboot(machine, { good: false }), "2");
  const trial = (await machineStatus(machine)).ashlar;
  assert.deepEqual([trial.booted?.imageVersion, trial.booted?.state, trial.booted?.triesLeft], ["2", "trial", 2]);
  await machine.bless();
  await booted(machine);
  const good = (await machineStatus(machine)).ashlar;
  assert.deepEqual([good.booted?.imageVersion, good.booted?.state], ["2", "good"]);
  assert.equal(good.rollback?.imageVersion, "1");
  assert.equal(good.staged, null);
  assert.equal(good.booted?.verified?.channel, "sample stable");
  assert.deepEqual(await events(machine), ["staged", "booted", "confirmed"]);
  assert.equal((await run(one)).result, "current");
});

test("staged twice is staged once", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  const { written } = one.machine.device.traffic;
  const again = await run(one);
  assert.equal(again.result, "staged");
  assert.equal(again.staged, undefined);
  assert.equal(one.machine.device.traffic.written, written);
});

test("a release that never becomes good ends on the old one, and is not tried again but by force", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  await run(one);
  assert.deepEqual(await failUntilOld(machine), { version: "1", boots: 4 });
  const { ashlar } = await machineStatus(machine);
  assert.equal(ashlar.booted?.imageVersion, "1");
  assert.deepEqual(
    ashlar.refused.map(({ imageVersion, why }) => [imageVersion, why]),
    [["2", "failed"]],
  );
  assert.deepEqual([ashlar.rollback?.imageVersion, ashlar.rollback?.state], ["2", "bad"]);
  const again = await run(one);
  assert.equal(again.result, "refused");
  assert.match(again.message, /release 2 is not tried again/);
  assert.equal((await run(one, { force: true })).result, "staged");
  assert.equal(await reboot(machine), "2");
  assert.deepEqual((await machineStatus(machine)).ashlar.refused, []);
});

test("a newer release than the one that failed is tried", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  await failUntilOld(one.machine);
  await one.release("3");
  assert.equal((await run(one)).release?.imageVersion, "3");
  assert.equal(await reboot(one.machine), "3");
});

test("a rollback stays where it went, until there is something newer", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  await run(one);
  await reboot(machine);
  const back = await rollback(machine);
  assert.deepEqual([back.from.imageVersion, back.to.imageVersion, back.rebootNeeded], ["2", "1", true]);
  assert.equal((await machineStatus(machine)).status.rollbackQueued, true);
  assert.equal(await reboot(machine), "1");
  assert.equal(await reboot(machine), "1");
  assert.equal((await run(one)).result, "refused");
  const { ashlar } = await machineStatus(machine);
  assert.deepEqual(
    [ashlar.booted?.state, ashlar.rollback?.imageVersion, ashlar.rollback?.state],
    ["good", "2", "set-back"],
  );
  assert.deepEqual(
    ashlar.refused.map(({ imageVersion, why }) => [imageVersion, why]),
    [["2", "rolled-back"]],
  );
  await one.release("3");
  assert.equal((await run(one)).release?.imageVersion, "3");
  assert.equal(await reboot(machine), "3");
});

test("a rollback of a rollback goes forward again", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  await reboot(one.machine);
  await rollback(one.machine);
  await reboot(one.machine);
  await rollback(one.machine);
  assert.equal(await reboot(one.machine), "2");
  assert.deepEqual((await machineStatus(one.machine)).ashlar.refused, []);
});

test("a rollback takes back what was staged and never ran", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  const back = await rollback(one.machine);
  assert.equal(back.rebootNeeded, false);
  assert.equal(await reboot(one.machine), "1");
  assert.equal((await run(one)).result, "refused");
});

test("a machine that loses its records still knows what failed", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  one.machine.records.files.clear();
  await failUntilOld(one.machine);
  assert.deepEqual(
    (await machineStatus(one.machine)).ashlar.refused.map(({ imageVersion }) => imageVersion),
    ["2"],
  );
});

test("records that cannot be read are put aside, and the machine updates", async () => {
  const one = await fleet();
  await one.release("2");
  one.machine.records.files.set("record.json", new TextEncoder().encode('{"schema": '));
  const status = await machineStatus(one.machine);
  assert.deepEqual(
    status.ashlar.problems.map(({ code }) => code),
    ["record"],
  );
  assert.equal((await run(one)).result, "staged");
  assert.ok(one.machine.records.files.has("record.json.bad"));
  assert.deepEqual(await events(one.machine), ["record", "staged"]);
});

test("a channel that has expired is stale, which is told, and nothing is installed", async () => {
  const one = await fleet();
  await one.release("2");
  one.machine.time += 30 * DAY;
  const report = await run(one);
  assert.equal(report.result, "stale");
  const { ashlar } = await machineStatus(one.machine);
  assert.equal(ashlar.lastCheck?.result, "stale");
  assert.equal(ashlar.freshness.lastFresh, null);
});

test("a clock in 1970 does not make an old state fresh, nor one in 2100 the machine blind for ever", async () => {
  const one = await fleet();
  await one.release("2");
  const { time } = one.machine;
  assert.equal((await run(one, { mode: "check" })).result, "newer");
  one.machine.time = 0;
  assert.equal((await run(one, { mode: "check" })).result, "newer");
  one.machine.time = Date.parse("2100-01-01T00:00:00Z");
  assert.equal((await run(one, { mode: "check" })).result, "stale");
  one.machine.time = time;
  assert.equal((await run(one)).result, "staged");
});

test("what a clock in 2100 has written down keeps a machine from nothing once the time is right again", async () => {
  const one = await fleet(
    '[source]\nreference = "registry.example/os:latest"\n[trust]\nunsigned = "accept"\n[check]\njitter = "0s"\n',
  );
  const { machine, repository, environment } = one;
  const { time } = machine;
  await one.release("2");
  const point = (version: string) => repository.tagged.set("latest", repository.tagged.get(version)!);
  point("1");
  machine.time = Date.parse("2100-01-01T00:00:00Z");
  assert.equal((await auto(machine, environment)).upgrade?.result, "current");
  machine.time = time;
  assert.equal((await machineStatus(machine)).ashlar.freshness.age, null);
  point("2");
  machine.time += DAY / 24;
  assert.equal((await auto(machine, environment)).upgrade?.result, "staged", "it looks, though it did so in 2100");
  assert.equal((await machineStatus(machine)).ashlar.freshness.age, 0);
  assert.equal(await reboot(machine), "2");
});

test("an older state of the channel is refused, and said in the status", async () => {
  const one = await fleet();
  const { repository, machine } = one;
  await one.release("2");
  const old = repository.tagged.get("stable")!;
  await one.release("3");
  await run(one, { mode: "check" });
  repository.tagged.set("stable", old);
  await assert.rejects(run(one), { code: "channel-rollback" });
  const { ashlar } = await machineStatus(machine);
  assert.equal(ashlar.lastResult?.code, "channel-rollback");
  assert.deepEqual(await events(machine), ["error"]);
  await assert.rejects(run(one), { code: "channel-rollback" });
  assert.deepEqual(await events(machine), ["error"]); // the same again is no news
});

test("two runs at once: the second says who is there", async () => {
  const one = await fleet();
  const lock = await one.machine.lock("upgrade");
  await assert.rejects(run(one), { code: "busy", message: /upgrade/ });
  await lock.release();
  assert.equal((await run(one)).result, "current");
});

test("a slot that somebody uses is not written to", async () => {
  const one = await fleet();
  await one.release("2");
  one.machine.slotUse = "mounted at /mnt";
  const { written } = one.machine.device.traffic;
  await assert.rejects(run(one), { code: "slot-in-use", message: /mounted at \/mnt/ });
  assert.equal(one.machine.device.traffic.written, written);
  one.machine.slotUse = undefined;
  assert.equal((await run(one)).result, "staged");
});

test("a read-only ESP stops an update before anything boots differently", async () => {
  const one = await fleet();
  await one.release("2");
  one.machine.espReadOnly = true;
  await assert.rejects(run(one), { code: "read-only" });
  const { ashlar } = await machineStatus(one.machine);
  assert.deepEqual(
    ashlar.problems.map(({ code }) => code),
    ["esp-read-only"],
  );
  one.machine.espReadOnly = false;
  assert.equal(await reboot(one.machine), "1");
  assert.equal((await run(one)).result, "staged");
});

test("a name in a repository is followed when a policy accepts what is there", async () => {
  const one = await fleet('[source]\nreference = "registry.example/os:latest"\n[trust]\nunsigned = "accept"\n');
  const { repository } = one;
  const point = (version: string) => repository.tagged.set("latest", repository.tagged.get(version)!);
  point("1");
  assert.equal((await run(one)).result, "current");
  await one.release("2");
  point("2");
  assert.equal((await run(one)).release?.imageVersion, "2");
  await reboot(one.machine);
  point("1");
  const down = await run(one);
  assert.equal(down.result, "refused");
  assert.match(down.message, /older than what runs, 2/);
});

test("without keys, a policy or a word that unsigned will do, a name in a repository is refused", async () => {
  const one = await fleet('[source]\nreference = "registry.example/os:2"\n');
  await one.release("2");
  await assert.rejects(run(one), { code: "no-trust" });
});

test("switch goes to a lower version, and stays there", async () => {
  const one = await fleet(`${'[trust]\nunsigned = "accept"\n'}`);
  const { machine, environment } = one;
  await one.release("2");
  const to = (reference: string) => switchSource(machine, environment, { kind: "reference", reference });
  await assert.rejects(run(one), { code: "no-source" });
  await to("registry.example/os:2");
  assert.equal(await reboot(machine), "2");
  const report = await to("registry.example/os:1");
  assert.equal(report.result, "staged");
  assert.equal(await reboot(machine), "1");
  assert.equal(await reboot(machine), "1");
  assert.equal((await run(one)).result, "current");
  const status = await machineStatus(machine);
  assert.equal(status.spec.image?.image, "registry.example/os:1");
  assert.deepEqual(status.ashlar.refused, []);
});

test("an image may fix its source", async () => {
  const one = await fleet(
    `[source]\nreference = "registry.example/os:1"\nfixed = true\n[trust]\nunsigned = "accept"\n`,
  );
  await one.release("2");
  const chosen = { kind: "reference", reference: "registry.example/os:2" } as const;
  await assert.rejects(switchSource(one.machine, one.environment, chosen), { code: "source-fixed" });
});

test("a policy that cannot be read stops updates, not the status", async () => {
  const one = await fleet();
  one.machine.local.set("/etc/ashlar/mine.toml", "[check]\ninterval = 'often'\n");
  await assert.rejects(run(one), { code: "bad-policy" });
  const { ashlar } = await machineStatus(one.machine);
  assert.match(ashlar.problems[0]!.message, /\/etc\/ashlar\/mine\.toml/);
  assert.equal(ashlar.booted?.imageVersion, "1");
});

test("without privileges the status says what was seen last, and when", async () => {
  const one = await fleet();
  await one.release("2");
  one.machine.privileged = false;
  const before = (await machineStatus(one.machine)).ashlar;
  assert.deepEqual([before.seen, before.booted?.state, before.root?.from], ["never", "unknown", "command-line"]);
  one.machine.privileged = true;
  await run(one);
  one.machine.privileged = false;
  const after = (await machineStatus(one.machine)).ashlar;
  assert.equal(after.seen, new Date(one.machine.time).toISOString());
  assert.equal(after.staged?.imageVersion, "2");
  await assert.rejects(run(one), { code: "not-a-machine" });
});
