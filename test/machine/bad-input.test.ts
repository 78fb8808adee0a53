// What a machine meets: hostile and broken registries, disks that fail, an ESP without room, a lost partition table, a run that is
// killed. Each leaves a clear state, boots what it booted, and the next run heals it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { statusLines } from "../../cli/src/output/machine.ts";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { isAshlarError, SinkError, SourceError } from "../../core/src/errors/index.ts";
import { parseBootSector } from "../../core/src/formats/fat/header.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { addReleases, describeReleases } from "../../core/src/ops/channel/index.ts";
import { machineStatus, readHistory, recordBoot, rollback, upgrade } from "../../core/src/ops/machine/index.ts";
import { ENTRY_FOLDER, readSlots, type StageStep } from "../../core/src/ops/update/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, getNode, putNode, regularFile } from "../../core/src/tree/index.ts";
import { timeOf } from "../support/channels.ts";
import { fatFiles } from "../support/fat-files.ts";
import { type Fleet, fleet } from "../support/fleet.ts";
import { memoryDevice } from "../support/memory-device.ts";
import { memoryGenerations } from "../support/memory-generations.ts";
import { SYSTEM_SIZES } from "../support/systems.ts";

const MIB = 1024 * 1024;

const run = ({ machine, environment }: Fleet, options = {}) => upgrade(machine, environment, options);

/** The machine boots what it booted before, and says why nothing came of the update. */
async function assertUnharmed(one: Fleet, code: string): Promise<void> {
  const { ashlar } = await machineStatus(one.machine);
  assert.equal(ashlar.lastResult?.result, "error");
  assert.equal(ashlar.lastResult?.code, code);
  assert.equal(ashlar.staged, null);
  assert.equal((await one.machine.boot()).version, "1");
  await recordBoot(one.machine);
}

async function assertHeals(one: Fleet): Promise<void> {
  assert.equal((await run(one)).result, "staged");
  assert.equal((await one.machine.boot()).version, "2");
}

const esp = async ({ machine }: Fleet) => fatFiles(machine.device, (await readSlots(machine.device, "x86-64")).esp);

test("a registry that gives other bytes than the ones that were signed", async () => {
  const one = await fleet();
  await one.release("2");
  const { blobs } = one.repository;
  const kept = new Map(blobs);
  for (const [digest, bytes] of kept) {
    if (bytes.length < 1000) continue;
    const bad = Uint8Array.from(bytes);
    for (let at = 0; at < bad.length; at += 100) bad[at]! ^= 1;
    blobs.set(digest, bad);
  }
  await assert.rejects(run(one), (error: unknown) => isAshlarError(error));
  const { code } = (await machineStatus(one.machine)).ashlar.lastResult!;
  await assertUnharmed(one, code!);
  for (const [digest, bytes] of kept) blobs.set(digest, bytes);
  await assertHeals(one);
});

test("a registry in which blobs are missing", async () => {
  const one = await fleet();
  await one.release("2");
  const { blobs } = one.repository;
  const kept = new Map(blobs);
  for (const [digest, bytes] of kept) if (bytes.length > 20_000) blobs.delete(digest);
  await assert.rejects(run(one), { code: "no-blob" });
  await assertUnharmed(one, "no-blob");
  for (const [digest, bytes] of kept) blobs.set(digest, bytes);
  await assertHeals(one);
});

test("a channel whose word on a release is not the release's own", async () => {
  const one = await fleet();
  await one.release("2");
  const [second] = await describeReleases(one.repository, { tag: "2" }, nodeHashes);
  const lie = { ...second!, version: "3", barrier: false, minAgent: undefined, rollout: undefined };
  await one.publisher.change((current) => addReleases(current, [lie], timeOf(one.publisher)));
  await assert.rejects(run(one), { code: "channel-release" });
  await assertUnharmed(one, "channel-release");
});

test("an ESP without room for another UKI, until there is", async () => {
  const one = await fleet();
  await one.release("2");
  const files = await esp(one);
  const rest = (await files.free()) - 100_000;
  await files.write("EFI/fill.bin", bytesSource(new Uint8Array(rest)));
  await assert.rejects(run(one), { code: "esp-full" });
  await assertUnharmed(one, "esp-full");
  await (await esp(one)).remove("EFI/fill.bin");
  await assertHeals(one);
});

test("a release that is larger than a slot", async () => {
  const one = await fleet();
  const more = { "usr/large": new Uint8Array(12 * MIB).fill(7) };
  await one.release("2", {}, { more, sizes: { ...SYSTEM_SIZES, slotSize: 16 * MIB } });
  await assert.rejects(run(one), { code: "slot-too-small" });
  await assertUnharmed(one, "slot-too-small");
});

test("a lost backup table and a lost primary one are told, and the next update writes both", async () => {
  for (const which of ["backup", "primary"] as const) {
    const one = await fleet();
    const { machine } = one;
    await one.release("2");
    const { size } = machine.device;
    machine.device.put(which === "backup" ? size - 512 : 512, new Uint8Array(512));
    const { ashlar } = await machineStatus(machine);
    assert.deepEqual(
      ashlar.problems.map(({ code }) => code),
      ["gpt"],
    );
    assert.equal(ashlar.booted?.imageVersion, "1");
    await assertHeals(one);
    assert.deepEqual((await machineStatus(machine)).ashlar.problems, []);
  }
});

test("a disk that fails at any operation of an update: what runs boots again, and the next update completes", async () => {
  const one = await fleet();
  await one.release("2");
  const { machine } = one;
  const before = machine.device;
  const records = new Map(machine.records.files);
  let operations = 0;
  machine.device = memoryDevice(before.size, { from: before, faults: { fails: () => operations++ < 0 } });
  await run(one);
  const total = operations;
  assert.ok(total > 100);
  for (let at = 5; at < total; at += Math.ceil(total / 25)) {
    machine.records.files.clear();
    for (const [name, bytes] of records) machine.records.files.set(name, bytes);
    let count = 0;
    machine.device = memoryDevice(before.size, { from: before, faults: { fails: () => count++ === at } });
    await run(one).catch((error: unknown) => assert.ok(isAshlarError(error), String(error)));
    machine.device = machine.device.copy();
    assert.equal((await run(one)).result, "staged", `operation ${at}`);
    const { version } = await machine.boot();
    assert.equal(version, "2", `operation ${at}`);
    machine.device = before.copy();
    await machine.boot();
  }
});

test("the running slot gives other bytes, or none, where the /etc of its image lies: that is fetched, and local changes are carried", async () => {
  for (const fails of [false, true]) {
    const one = await fleet();
    const { machine } = one;
    const running = (await machine.facts()).root!.rootHash;
    const store = memoryGenerations(running);
    machine.etc = store;
    putNode(store.uppers.get(running)!, "app.conf", regularFile(attributes(0o644), bytesSource(encodeUtf8("mine\n"))));
    const second = await one.release("2");
    const { root, verity } = (await readSlots(machine.device, "x86-64")).slots[0];
    if (fails) {
      const { read } = machine.device;
      machine.device.read = async (offset, length) => {
        if (offset < root.start + root.size && offset + length > root.start)
          throw new SourceError("io-error", "disk: input/output error");
        return read(offset, length);
      };
    } else for (const { start, size } of [root, verity]) machine.device.put(start, new Uint8Array(size).fill(7));
    const report = await run(one);
    assert.equal(report.result, "staged");
    assert.match(report.etc.join(), /app\.conf: changed here and in the image/);
    const carried = getNode(store.uppers.get(second.release.rootHash)!, "app.conf");
    assert.ok(carried?.type === "file");
    assert.equal(Buffer.from(await carried.content.read(0, 5)).toString(), "mine\n");
    assert.equal((await machine.boot()).version, "2");
  }
});

test("a run that is killed in any step: what runs boots again, the status says what there is, and the next run completes", async () => {
  const steps: StageStep[] = ["preflight", "invalidate", "blocks", "tree", "read-back", "label", "entry"];
  for (const step of steps) {
    const one = await fleet();
    await one.release("2");
    const killed = new Error("killed");
    const onStep = (now: StageStep) => {
      if (now === step) throw killed;
    };
    await assert.rejects(run(one, { onStep }), (error) => error === killed);
    const { ashlar } = await machineStatus(one.machine);
    assert.deepEqual([ashlar.booted?.imageVersion, ashlar.staged], ["1", null], step);
    assert.equal(ashlar.lastResult?.result, "interrupted");
    assert.match(ashlar.lastResult.message, new RegExp(`in step ${step} of release 2`));
    assert.equal((await one.machine.boot()).version, "1", step);
    await recordBoot(one.machine);
    assert.match((await readHistory(one.machine.records)).at(-1)?.message ?? "", new RegExp(`in step ${step} `));
    assert.equal((await machineStatus(one.machine)).ashlar.lastResult?.result, "interrupted");
    await assertHeals(one);
    const healed = (await machineStatus(one.machine)).ashlar;
    assert.deepEqual([healed.lastResult?.result, healed.underway], ["staged", null]);
  }
});

test("a run that is killed over what was staged, or looking at the source: neither is told as something that it is not", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  await run(one, { mode: "download" });
  await one.release("3");
  const killed = new Error("killed");
  const onStep = (now: StageStep) => {
    if (now === "blocks") throw killed;
  };
  await assert.rejects(run(one, { onStep, force: true }), (error) => error === killed);
  const { ashlar } = await machineStatus(machine);
  assert.deepEqual([ashlar.downloaded, ashlar.staged], [null, null]);
  const { repositories } = one.environment;
  const open = async () => {
    throw killed;
  };
  await assert.rejects(upgrade(machine, { ...one.environment, repositories: { open } }), (error) => error === killed);
  assert.match((await machineStatus(machine)).ashlar.lastResult?.message ?? "", /in step look \(/);
  assert.equal((await upgrade(machine, { ...one.environment, repositories })).release?.imageVersion, "3");
  assert.deepEqual(
    (await readHistory(machine.records)).map(({ event }) => event),
    ["downloaded", "interrupted", "interrupted", "staged"],
  );
});

test("while a run goes on, the status says what it does, and not that it was interrupted", async () => {
  const one = await fleet();
  await one.release("2");
  const seen: unknown[] = [];
  const onStep = async (): Promise<void> => {
    const status = await machineStatus(one.machine);
    const { underway, lastResult } = status.ashlar;
    seen.push([underway?.verb, underway?.step, underway?.imageVersion, lastResult]);
    assert.match(statusLines(status).join("\n"), /^now +upgrade: .*, release 2, since 20/m);
  };
  await run(one, { onStep });
  const steps = ["preflight", "invalidate", "blocks", "tree", "read-back", "label", "entry"];
  assert.deepEqual(
    seen,
    steps.map((step) => ["upgrade", step, "2", null]),
  );
});

test("a FAT with two names for one file: not touched while somebody uses it, and mended before anything else once nobody does", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  await run(one);
  await machine.boot();
  await machine.bless();
  await recordBoot(machine);
  await one.release("3");
  // A rename of which only the new name came to the disk, as of an entry whose try was counted when the power went.
  const copy = machine.device.copy();
  const { esp: partition } = await readSlots(copy, "x86-64");
  const old = (await machine.entries()).find(({ version }) => version === "1")!;
  await (await fatFiles(copy, partition)).rename(`${ENTRY_FOLDER}/${old.name}`, `${ENTRY_FOLDER}/sample_1+0-1.efi`);
  const first = copy.events.find((event) => event.type === "write");
  assert.ok(first?.type === "write");
  machine.device.put(first.offset, first.bytes);
  machine.device.put(partition.start + 65, Uint8Array.of(1)); // as Linux leaves it
  machine.espInUse = true;
  const problems = async () => (await machineStatus(machine)).ashlar.problems.map(({ code }) => code);
  assert.ok((await problems()).includes("esp-damaged"));
  const { written } = machine.device.traffic;
  await assert.rejects(run(one), { code: "esp-damaged", message: /sample_1/ });
  await assert.rejects(rollback(machine), { code: "esp-damaged" });
  assert.equal(machine.device.traffic.written, written);
  machine.espInUse = false;
  assert.equal((await run(one)).release?.imageVersion, "3");
  assert.deepEqual(await problems(), []);
  assert.equal((await machine.device.read(partition.start + 65, 1))[0], 0);
  assert.ok((await readHistory(machine.records)).some(({ event }) => event === "mended"));
  assert.equal((await machine.boot()).version, "3");
});

test("a FAT whose directories cannot be followed is said to be no use", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  const { esp: partition } = await readSlots(machine.device, "x86-64");
  const before = machine.device.copy();
  const { fatStart, rootCluster } = parseBootSector(await machine.device.read(partition.start, 512));
  machine.device.put(partition.start + fatStart + rootCluster * 4, Uint8Array.of(1, 0, 0, 0));
  await assert.rejects(run(one), { code: "esp-unusable", message: /chain of the directory is broken/ });
  assert.match((await machineStatus(machine)).ashlar.problems[0]?.message ?? "", /chain of the directory/);
  machine.device = before;
  await assertHeals(one);
});

test("an ESP that cannot be read is a problem that the status names", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  const { start } = (await readSlots(machine.device, "x86-64")).esp;
  const boot = await machine.device.read(start, 512);
  machine.device.put(start, new Uint8Array(512));
  const { ashlar } = await machineStatus(machine);
  assert.deepEqual(
    ashlar.problems.map(({ code }) => code),
    ["esp"],
  );
  assert.equal(ashlar.booted?.state, "no-entry");
  await assert.rejects(run(one), { code: "esp-unusable" });
  machine.device.put(start, boot);
  await assertHeals(one);
});

test("a foreign file among the entries is told, and left alone", async () => {
  const one = await fleet();
  await one.release("2");
  await (await esp(one)).write(`${ENTRY_FOLDER}/memtest.efi`, bytesSource(new Uint8Array(1000)));
  const { ashlar } = await machineStatus(one.machine);
  assert.match(ashlar.problems[0]?.message ?? "", /memtest\.efi/);
  await assertHeals(one);
  assert.ok((await (await esp(one)).list(ENTRY_FOLDER)).some(({ name }) => name === "memtest.efi"));
});

test("a full /var: the error of the update is what is told, not that it could not be written down", async () => {
  const one = await fleet();
  await one.release("2");
  const { write } = one.machine.records;
  one.machine.records.write = async () => {
    throw new SinkError("no-space", "/var: no space left on the device");
  };
  await assert.rejects(run(one), { code: "no-space" });
  assert.equal((await one.machine.boot()).version, "1");
  one.machine.records.write = write;
  await assertHeals(one);
  assert.deepEqual(
    (await readHistory(one.machine.records)).map(({ event }) => event),
    ["staged"],
  );
});

test("power goes right after the new release got its name, before that was written down: it is tried, and told, all the same", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  const killed = new Error("killed");
  const { write } = machine.records;
  machine.records.write = async (name, bytes) => {
    const isNamed = (await machine.entries()).some(({ version }) => version === "2");
    if (isNamed) throw killed;
    await write(name, bytes);
  };
  await assert.rejects(run(one), (error) => error === killed);
  machine.records.write = write;
  assert.equal((await machineStatus(machine)).ashlar.staged?.imageVersion, "2");
  assert.equal((await machine.boot()).version, "2");
  await recordBoot(machine);
  await machine.bless();
  await recordBoot(machine);
  assert.deepEqual(
    (await readHistory(machine.records)).map(({ event }) => event),
    ["interrupted", "booted", "confirmed"],
  );
});

test("two disks with the same image, of which the kernel took a partition each: nothing is changed, and the status says why", async () => {
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  const { facts } = machine;
  machine.facts = async () => {
    const found = await facts();
    return { ...found, root: { ...found.root!, otherDisk: "other" } };
  };
  const { written } = machine.device.traffic;
  await assert.rejects(run(one), { code: "two-disks", message: /disk.*other/ });
  assert.equal(machine.device.traffic.written, written);
  const { ashlar } = await machineStatus(machine);
  assert.match(ashlar.problems[0]?.message ?? "", /two disks with the same image/);
  machine.facts = facts;
  await assertHeals(one);
});
