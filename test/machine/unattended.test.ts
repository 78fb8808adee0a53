// A machine that nobody looks after: the timer, downloads, windows, local changes of /etc, and what is cleaned up.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import {
  auto,
  carryPendingEtc,
  collectGarbage,
  machineStatus,
  readHistory,
  recordBoot,
  rollback,
  switchSource,
  upgrade,
} from "../../core/src/ops/machine/index.ts";
import { ENTRY_FOLDER, readSlots } from "../../core/src/ops/update/index.ts";
import { bytesSource, readAll } from "../../core/src/source/index.ts";
import { attributes, putNode, regularFile, resolvePath } from "../../core/src/tree/index.ts";
import { fatFiles } from "../support/fat-files.ts";
import { CHANNEL_POLICY, type Fleet, fleet } from "../support/fleet.ts";
import { memoryGenerations } from "../support/memory-generations.ts";

const HOUR = 3_600_000;
const tick = ({ machine, environment }: Fleet) => auto(machine, environment);

async function reboot({ machine }: Fleet): Promise<string> {
  const { version } = await machine.boot();
  await recordBoot(machine);
  await machine.bless();
  await recordBoot(machine);
  return version;
}

test("the timer looks when it is time, stages, and looks again after the interval", async () => {
  const one = await fleet(`${CHANNEL_POLICY}[check]\ninterval = "6h"\njitter = "0s"\n`);
  await one.release("2");
  const first = await tick(one);
  assert.equal(first.upgrade?.result, "staged");
  assert.equal(first.reboots, false);
  assert.equal(Date.parse(first.next!), one.machine.time + 6 * HOUR);
  one.machine.time += 5 * HOUR;
  assert.equal((await tick(one)).upgrade, undefined);
  one.machine.time += HOUR;
  assert.equal((await tick(one)).upgrade?.result, "staged");
});

test("after a failure the timer tries again within the hour", async () => {
  const one = await fleet(`${CHANNEL_POLICY}[check]\ninterval = "1d"\njitter = "0s"\n`);
  await one.release("2");
  const held = one.repository.tagged.get("stable")!;
  one.repository.tagged.delete("stable");
  await assert.rejects(tick(one), { code: "no-such-image" });
  assert.equal((await tick(one)).upgrade, undefined);
  one.repository.tagged.set("stable", held);
  one.machine.time += HOUR;
  assert.equal((await tick(one)).upgrade?.result, "staged");
});

test("nothing is looked at outside of the windows, and a machine reboots only inside of its own", async () => {
  const windows = 'windows = ["02:00-04:00"]\n';
  const one = await fleet(
    `${CHANNEL_POLICY}[check]\njitter = "0s"\n${windows}[reboot]\npolicy = "window"\nwindows = ["Tue 03:00-04:00"]\n`,
  );
  const { machine } = one;
  await one.release("2");
  machine.time = Date.parse("2026-11-23T12:00:00Z"); // a Monday
  assert.equal((await tick(one)).upgrade, undefined);
  machine.time = Date.parse("2026-11-24T02:30:00Z");
  const staged = await tick(one);
  assert.deepEqual([staged.upgrade?.result, staged.reboots], ["staged", false]);
  machine.time = Date.parse("2026-11-24T03:30:00Z");
  assert.equal((await tick(one)).reboots, true);
  assert.equal(machine.reboots.count, 1);
  assert.equal(await reboot(one), "2");
  assert.equal((await tick(one)).reboots, false);
});

test("a machine whose boot loader starts something else does not reboot in every window", async () => {
  const one = await fleet(`${CHANNEL_POLICY}[reboot]\npolicy = "window"\n`);
  await one.release("2");
  await upgrade(one.machine, one.environment);
  const files = await fatFiles(one.machine.device, (await readSlots(one.machine.device, "x86-64")).esp);
  await files.rename(`${ENTRY_FOLDER}/sample_2+3.efi`, `${ENTRY_FOLDER}/aside.bin`); // as if it were pinned
  await one.machine.boot();
  await files.rename(`${ENTRY_FOLDER}/aside.bin`, `${ENTRY_FOLDER}/sample_2+3.efi`);
  assert.equal((await tick(one)).reboots, false);
});

test("a policy that only looks writes nothing to the disk", async () => {
  const one = await fleet(`${CHANNEL_POLICY}[update]\nmode = "check"\n[check]\njitter = "0s"\n`);
  await one.release("2");
  const { written } = one.machine.device.traffic;
  assert.equal((await tick(one)).upgrade?.result, "newer");
  assert.equal(one.machine.device.traffic.written, written);
});

test("what was only downloaded does not boot, and needs no block again to be staged", async () => {
  const one = await fleet();
  const { machine, environment, repository } = one;
  await one.release("2");
  const held = await upgrade(machine, environment, { mode: "download" });
  assert.deepEqual([held.result, held.rebootNeeded], ["downloaded", false]);
  assert.equal((await machineStatus(machine)).ashlar.downloaded?.imageVersion, "2");
  assert.equal((await upgrade(machine, environment, { mode: "download" })).staged, undefined);
  assert.equal(await reboot(one), "1");
  repository.traffic.read = 0;
  const staged = await upgrade(machine, environment);
  assert.deepEqual([staged.result, staged.staged?.blocks.fetched], ["staged", 0]);
  assert.ok(repository.traffic.read < 100_000, `${repository.traffic.read} bytes`);
  assert.equal(await reboot(one), "2");
  const events = (await readHistory(machine.records)).map(({ event }) => event);
  assert.deepEqual(events, ["downloaded", "staged", "booted", "confirmed"]);
});

const read = async (upper: Parameters<typeof resolvePath>[0], path: string) => {
  const node = resolvePath(upper, path)?.node;
  return node?.type === "file" ? new TextDecoder().decode(await readAll(node.content, 1000, path)) : undefined;
};

const text = (content: string) => regularFile(attributes(0o644), bytesSource(encodeUtf8(content)));

test("local changes of /etc are there when the new release first boots, and those since staging too", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const running = (await machine.facts()).root!.rootHash;
  const store = memoryGenerations(running);
  machine.etc = store;
  putNode(store.uppers.get(running)!, "hostname", text("mine\n"));
  const made = await one.release("2");
  const report = await upgrade(machine, environment);
  assert.deepEqual(report.etc, []);
  const next = made.release.rootHash;
  assert.equal(await read(store.uppers.get(next)!, "hostname"), "mine\n");
  putNode(store.uppers.get(running)!, "late", text("late\n"));
  assert.ok((await carryPendingEtc(machine, environment)) !== undefined);
  assert.equal(await read(store.uppers.get(next)!, "late"), "late\n");
  assert.equal(await reboot(one), "2");
  assert.equal(await carryPendingEtc(machine, environment), undefined);
});

test("a conflict in /etc is told, and refused before anything is written where the policy says so", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const running = (await machine.facts()).root!.rootHash;
  const store = memoryGenerations(running);
  machine.etc = store;
  putNode(store.uppers.get(running)!, "app.conf", text("setting = mine\n"));
  await one.release("2");
  machine.local.set("/etc/ashlar/etc.toml", '[etc]\nconflicts = "refuse"\n');
  const { written } = machine.device.traffic;
  await assert.rejects(upgrade(machine, environment), { code: "etc-conflicts", message: /app\.conf/ });
  assert.equal(machine.device.traffic.written, written);
  assert.deepEqual([...store.uppers.keys()], [running]);
  machine.local.clear();
  const report = await upgrade(machine, environment);
  assert.match(report.etc.join(), /app\.conf: changed here and in the image/);
  assert.match((await readHistory(machine.records)).at(-1)?.detail ?? "", /app\.conf/);
  const staged = async () => (await machineStatus(machine)).ashlar.staged?.etc.join() ?? "";
  assert.match(await staged(), /app\.conf: changed here and in the image/);
  putNode(store.uppers.get(running)!, "motd", text("mine\n"));
  await carryPendingEtc(machine, environment);
  assert.match(await staged(), /app\.conf.*motd/, "what has come up since, too");
});

test("a rollback finds /etc as it was left", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const running = (await machine.facts()).root!.rootHash;
  const store = memoryGenerations(running);
  machine.etc = store;
  const made = await one.release("2");
  await upgrade(machine, environment);
  await reboot(one);
  putNode(store.uppers.get(made.release.rootHash)!, "hostname", text("two\n"));
  await rollback(machine);
  assert.equal(await carryPendingEtc(machine, environment), undefined);
  assert.equal(await read(store.uppers.get(running)!, "hostname"), undefined);
});

test("gc removes what belongs to no release, and nothing else", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const running = (await machine.facts()).root!.rootHash;
  const store = memoryGenerations(running);
  machine.etc = store;
  const second = await one.release("2");
  await upgrade(machine, environment);
  await reboot(one);
  await one.release("3");
  await upgrade(machine, environment);
  await reboot(one);
  store.uppers.set(running, store.uppers.get(running)!);
  const gone = "0".repeat(64);
  await machine.recipes.write(gone, new Uint8Array(1));
  const files = await fatFiles(machine.device, (await readSlots(machine.device, "x86-64")).esp);
  await files.write(`${ENTRY_FOLDER}/ashlar-0123456789abcdef.new`, bytesSource(new Uint8Array(10)));
  const wanted = {
    esp: [`${ENTRY_FOLDER}/ashlar-0123456789abcdef.new`],
    etc: [running],
    recipes: [running, gone],
  };
  assert.deepEqual(await collectGarbage(machine, { dryRun: true }), wanted);
  assert.deepEqual(await collectGarbage(machine), wanted);
  assert.deepEqual(await collectGarbage(machine), { esp: [], etc: [], recipes: [] });
  const { ashlar } = await machineStatus(machine);
  assert.deepEqual([ashlar.booted?.imageVersion, ashlar.rollback?.imageVersion], ["3", "2"]);
  assert.ok(store.uppers.has(second.release.rootHash));
  await rollback(machine);
  assert.equal(await reboot(one), "2");
});

test("a boot is no failure where another run has the machine, and is written down by the next", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  await one.release("2");
  await upgrade(machine, environment);
  await machine.boot();
  await machine.bless();
  const lock = await machine.lock("auto");
  assert.deepEqual(await recordBoot(machine), []);
  await lock.release();
  assert.match((await recordBoot(machine)).map(({ event }) => event).join(), /confirmed/);
});

test("switching back to what runs takes back what was staged", async () => {
  const one = await fleet('[trust]\nunsigned = "accept"\n');
  const { machine, environment } = one;
  await one.release("2");
  const to = (tag: string) =>
    switchSource(machine, environment, { kind: "reference", reference: `registry.example/os:${tag}` });
  assert.equal((await to("2")).result, "staged");
  assert.equal((await to("1")).result, "current");
  assert.equal((await machineStatus(machine)).ashlar.staged, null);
  assert.equal(await reboot(one), "1");
});

for (const kind of ["channel", "reference"] as const)
  test(`a release with the same root and another UKI is an update of its own, and can fail as one: ${kind}`, async () => {
    const policy = '[source]\nreference = "registry.example/os:1"\n[trust]\nunsigned = "accept"\n';
    const one = await fleet(kind === "channel" ? CHANNEL_POLICY : policy);
    const { machine, environment } = one;
    const check = () => upgrade(machine, environment, { mode: "check" });
    assert.equal((await upgrade(machine, environment)).result, "current");
    await one.release("1", {}, { initrd: new Uint8Array(1000) });
    const report = await upgrade(machine, environment);
    assert.equal(report.staged?.change, "uki");
    assert.equal((await machineStatus(machine)).ashlar.staged?.triesLeft, 3);
    for (let tries = 0; tries < 3; tries++) assert.notEqual((await machine.boot()).counter, undefined);
    assert.equal((await machine.boot()).counter, undefined);
    await recordBoot(machine);
    assert.equal((await check()).result, "refused");
    assert.equal((await machineStatus(machine)).ashlar.refused.length, 1);
    const again = await upgrade(machine, environment, { force: true });
    assert.deepEqual([again.result, again.staged?.change], ["staged", "none"]);
    await reboot(one);
    assert.equal((await check()).result, "current");
    assert.deepEqual((await machineStatus(machine)).ashlar.refused, []);
  });
