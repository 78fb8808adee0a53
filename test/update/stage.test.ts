// Updates of machines in memory: what is staged, in which order, what is started, and what of it travels.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { equalBytes } from "../../core/src/bytes/index.ts";
import { SourceError } from "../../core/src/errors/index.ts";
import { openFat } from "../../core/src/formats/fat/index.ts";
import { planGptEdit } from "../../core/src/formats/gpt/index.ts";
import { type ClosableSource, sourceBlob } from "../../core/src/formats/oci/index.ts";
import { FRAME_SIZE } from "../../core/src/formats/pack/index.ts";
import { openStoredRelease, pushReleases } from "../../core/src/ops/publish/index.ts";
import {
  fileContent,
  type Machine,
  readBootEntries,
  readSlots,
  rollbackTo,
  type Staged,
  type StageOptions,
  stageRelease,
  storedContent,
} from "../../core/src/ops/update/index.ts";
import { type Source, sliceSource } from "../../core/src/source/index.ts";
import { bootOracle, type Started } from "../support/boot-oracle.ts";
import { boot, installed, machineOf, started } from "../support/machines.ts";
import type { MemoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const environment = await publishEnvironment();
const COMMON = {
  "usr/bin/tool": noise(700_000, "tool"),
  "usr/share/twice": noise(40_960, "twice"),
  "usr/share/zeros": new Uint8Array(300_000),
};

let v1: SampleRelease;
let v2: SampleRelease;
let v3: SampleRelease;
let fresh: MemoryDevice;
const repository: MemoryRepository = memoryRepository();
before(async () => {
  v1 = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment);
  const moved = { "a-new-file": noise(20_000, "new"), "usr/share/zz-twice": COMMON["usr/share/twice"] };
  v2 = await systemRelease({ ...COMMON, ...moved, "etc/conf": "a = 2\n" }, environment, { version: "2" });
  v3 = await systemRelease({ ...COMMON, "etc/conf": "a = 3\n" }, environment, {
    version: "3",
    kernel: noise(210_000, "kernel 3"),
  });
  fresh = await installed(v1, environment);
  await pushReleases([v1], repository, { tag: "1" }, environment);
  for (const [release, tag] of [
    [v2, "2"],
    [v3, "3"],
  ] as const)
    await pushReleases([release], repository, { tag }, environment);
});

const hashOf = (release: SampleRelease) => release.release.rootHash;

async function stage(release: SampleRelease, machine: Machine, options?: StageOptions): Promise<Staged> {
  return stageRelease(fileContent(release, environment), machine, environment, options);
}

async function stageStored(tag: string, machine: Machine, options?: StageOptions): Promise<Staged> {
  const stored = await openStoredRelease(repository, await repository.resolve({ tag }), environment);
  try {
    return await stageRelease(storedContent(stored, environment), machine, environment, options);
  } finally {
    await stored.close();
  }
}

/** The ESP is as a strict reader wants it, and both slots are what their names say. */
async function assertSound(device: MemoryDevice): Promise<void> {
  const { esp } = await readSlots(device, "x86-64");
  await openFat(sliceSource(device, esp.start, esp.size));
}

test("an update from files and one from a repository leave the same slot, and it is started with tries", async () => {
  const disks: MemoryDevice[] = [];
  for (const run of [stage.bind(undefined, v2), stageStored.bind(undefined, "2")]) {
    const device = fresh.copy();
    const steps: string[] = [];
    const staged = await run(await machineOf(device, hashOf(v1)), { onStep: (step) => void steps.push(step) });
    assert.deepEqual([staged.change, staged.slot, staged.entry], ["slot", "b", "sample_2+3.efi"]);
    assert.deepEqual(steps, ["preflight", "invalidate", "blocks", "tree", "read-back", "label", "entry"]);
    const { kept, copied, fetched, total } = staged.blocks;
    assert.equal(kept + copied + fetched, total);
    assert.ok(fetched < 100_000 && copied > 700_000, `${kept} kept, ${copied} copied, ${fetched} fetched`);
    assert.equal(started(bootOracle(device)).rootHash, hashOf(v2));
    await assertSound(device);
    disks.push(device);
  }
  const { slots } = await readSlots(disks[0]!, "x86-64");
  const { start, size } = slots[1].root;
  const [a, b] = await Promise.all(disks.map((device) => device.read(start, size)));
  assert.ok(equalBytes(a!, b!));
});

test("staged again: nothing is written, nothing but documents is read", async () => {
  const device = fresh.copy();
  await stageStored("2", await machineOf(device, hashOf(v1)));
  const events = device.events.length;
  repository.traffic.read = 0;
  const again = await stageStored("2", await machineOf(device, hashOf(v1)));
  assert.deepEqual([again.change, again.fetched, again.entry], ["none", 0, "sample_2+3.efi"]);
  assert.ok(repository.traffic.read < 20_000, `${repository.traffic.read} bytes`);
  assert.deepEqual(
    device.events.slice(events).filter(({ type }) => type === "write"),
    [],
  );
});

/** Boots, and says what was started. */
async function run(device: MemoryDevice, isGood = true): Promise<Started> {
  return boot(device, { isGood });
}

test("a good release stays; a bad one is tried three times, and the one before runs again", async () => {
  const device = fresh.copy();
  await stage(v2, await machineOf(device, hashOf(v1)));
  assert.deepEqual([(await run(device)).entry, (await run(device)).entry], ["sample_2.efi", "sample_2.efi"]);
  const { slot } = await stage(v3, await machineOf(device, hashOf(v2)));
  assert.equal(slot, "a");
  for (const left of [2, 1, 0]) assert.equal((await run(device, false)).entry, `sample_3+${left}-${3 - left}.efi`);
  assert.equal((await run(device)).rootHash, hashOf(v2));
  assert.equal((await run(device)).entry, "sample_2.efi");
  // Staged once more, as after --force: the slot is right, the entry gets tries again.
  const again = await stage(v3, await machineOf(device, hashOf(v2)));
  assert.deepEqual([again.change, again.entry], ["none", "sample_3+3.efi"]);
  assert.equal((await run(device)).entry, "sample_3.efi");
  await assertSound(device);
});

test("what the label of the running slot says does not matter: its entry stays", async () => {
  for (const change of [{ name: "_empty" }, { name: "PRT#other", attributes: 0n }, { attributes: 1n << 63n }]) {
    const device = fresh.copy();
    const edit = await planGptEdit(device, [{ number: 2, ...change }]);
    for (const { offset, bytes } of [...edit.backup, ...edit.primary]) device.put(offset, bytes);
    await stage(v2, await machineOf(device, hashOf(v1)));
    for (let i = 0; i < 3; i++) assert.equal((await run(device, false)).rootHash, hashOf(v2));
    assert.equal((await run(device)).rootHash, hashOf(v1));
    await stage(v3, await machineOf(device, hashOf(v1)));
    assert.equal((await run(device)).rootHash, hashOf(v3));
  }
});

test("rollback goes to the other slot and stays there; where that fails it comes back", async () => {
  const device = fresh.copy();
  await stage(v2, await machineOf(device, hashOf(v1)));
  await run(device);
  const back = await rollbackTo(await machineOf(device, hashOf(v2)));
  assert.deepEqual([back.entry, back.rootHash, back.version], ["sample_1+3.efi", hashOf(v1), "1"]);
  const failing = device.copy();
  for (let i = 0; i < 3; i++) assert.equal((await run(failing, false)).rootHash, hashOf(v1));
  assert.equal((await run(failing)).rootHash, hashOf(v2));
  for (let i = 0; i < 3; i++) assert.equal((await run(device)).entry, "sample_1.efi");
  // Forth again without fetching: the slot is as it was.
  const forth = await stageStored("2", await machineOf(device, hashOf(v1)));
  assert.deepEqual([forth.change, forth.fetched, forth.entry], ["none", 0, "sample_2+3.efi"]);
  assert.equal((await run(device)).entry, "sample_2.efi");
  await assertSound(device);
});

test("a staged release that is not wanted after all", async () => {
  const device = fresh.copy();
  await stage(v2, await machineOf(device, hashOf(v1)));
  const { entry } = await rollbackTo(await machineOf(device, hashOf(v1)), { rootHash: hashOf(v1) });
  assert.equal(entry, "sample_1.efi");
  assert.equal((await run(device)).rootHash, hashOf(v1));
});

test("a lower version and another product are started when they are chosen, and their failing leads back", async () => {
  const other = await systemRelease(COMMON, environment, { imageId: "zebra" });
  const early = await systemRelease(COMMON, environment, { imageId: "aardvark" });
  const device = fresh.copy();
  await stage(v3, await machineOf(device, hashOf(v1)));
  await run(device);
  for (const release of [v2, v1, other, early]) {
    const next = device.copy();
    await stage(release, await machineOf(next, hashOf(v3)));
    const bad = next.copy();
    assert.equal((await run(next)).rootHash, hashOf(release));
    assert.equal((await run(next)).rootHash, hashOf(release), "it stays");
    for (let i = 0; i < 3; i++) assert.equal((await run(bad, false)).rootHash, hashOf(release));
    assert.equal((await run(bad)).rootHash, hashOf(v3), "it comes back");
    assert.equal((await run(bad)).rootHash, hashOf(v3));
    // And from there up again.
    await stage(v3, await machineOf(next, hashOf(release)));
    assert.equal((await run(next)).rootHash, hashOf(v3));
    await assertSound(next);
  }
});

test("a release with the root that runs is another UKI, beside the one that is known to be good", async () => {
  const content = { ...COMMON, "etc/conf": "a = 1\n" };
  const rebuilt = await systemRelease(content, environment, { kargs: "quiet" });
  assert.equal(hashOf(rebuilt), hashOf(v1));
  const device = fresh.copy();
  await stage(v2, await machineOf(device, hashOf(v1)));
  await run(device);
  await rollbackTo(await machineOf(device, hashOf(v2)));
  await run(device);
  const staged = await stage(rebuilt, await machineOf(device, hashOf(v1)));
  assert.deepEqual([staged.change, staged.slot, staged.entry], ["uki", "a", "sample_1.1+3.efi"]);
  const bad = device.copy();
  assert.equal((await run(device)).entry, "sample_1.1.efi");
  assert.equal((await run(device)).entry, "sample_1.1.efi");
  for (let i = 0; i < 3; i++) await run(bad, false);
  assert.equal((await run(bad)).entry, "sample_1.efi");
  // The next release goes into the other slot, and leaves both.
  await stage(v3, await machineOf(device, hashOf(v1)));
  assert.equal((await run(device)).rootHash, hashOf(v3));
  const { entries } = await readBootEntries((await machineOf(device, hashOf(v3))).esp);
  assert.deepEqual(
    entries.map(({ name }) => name),
    ["sample_3.efi", "sample_1.1.efi", "sample_1.efi"],
  );
});

test("the same version made anew gets another name, and is started", async () => {
  const remade = await systemRelease({ ...COMMON, "etc/conf": "a = 1 again\n" }, environment);
  const device = fresh.copy();
  const { entry } = await stage(remade, await machineOf(device, hashOf(v1)));
  assert.equal(entry, "sample_1.1+3.efi");
  assert.equal((await run(device)).rootHash, hashOf(remade));
});

test("held back: all is there, nothing is started, and later nothing is fetched", async () => {
  const device = fresh.copy();
  const held = await stageStored("3", await machineOf(device, hashOf(v1)), { hold: true });
  assert.deepEqual([held.held, held.change], [true, "slot"]);
  assert.equal((await run(device)).rootHash, hashOf(v1));
  repository.traffic.read = 0;
  const staged = await stageStored("3", await machineOf(device, hashOf(v1)));
  assert.deepEqual([staged.held, staged.fetched], [false, 0]);
  assert.equal((await run(device)).rootHash, hashOf(v3));
});

test("the new root is read before anything changes, and what is said of it then ends the run", async () => {
  for (const run of [stage.bind(undefined, v2), stageStored.bind(undefined, "2")]) {
    const device = fresh.copy();
    const refused = new Error("refused");
    const onRoot = async (root: Source) => {
      assert.ok(equalBytes(await root.read(0, root.size), v2.files.get("sample_2.root.erofs")!));
      assert.deepEqual(await root.read(4095, 2), v2.files.get("sample_2.root.erofs")!.subarray(4095, 4097));
      throw refused;
    };
    await assert.rejects(run(await machineOf(device, hashOf(v1)), { onRoot }), refused);
    assert.deepEqual(device.events, []);
  }
});

test("frames that the hook has read do not travel again", async () => {
  const counts: number[] = [];
  const readAll = async (root: Source) => void (await root.read(0, root.size));
  for (const options of [{}, { onRoot: readAll }]) {
    repository.traffic.read = 0;
    const device = fresh.copy();
    await stageStored("3", await machineOf(device, hashOf(v1)), options);
    counts.push(repository.traffic.read);
    assert.equal(started(bootOracle(device)).rootHash, hashOf(v3));
  }
  assert.ok(counts[1]! <= counts[0]! * 1.01, `${counts}`);
});

test("what a hook throws leaves the slot without an entry", async () => {
  const device = fresh.copy();
  const stop = new Error("stop");
  const refuse = async () => {
    throw stop;
  };
  await assert.rejects(stage(v2, await machineOf(device, hashOf(v1)), { beforeEntry: refuse }), stop);
  assert.equal((await run(device)).rootHash, hashOf(v1));
  await stage(v2, await machineOf(device, hashOf(v1)));
  assert.equal((await run(device)).rootHash, hashOf(v2));
});

test("a changed line, everything counted: documents, recipe, frames, and the UKI with its new command line", async () => {
  const first = await systemRelease({ ...COMMON, "etc/conf": "line = 1\n" }, environment);
  const second = await systemRelease({ ...COMMON, "etc/conf": "line = 2\n" }, environment, { version: "2" });
  const line = memoryRepository();
  await pushReleases([first], line, { tag: "1" }, environment);
  await pushReleases([second], line, { tag: "2" }, environment);
  const device = await installed(first, environment);
  line.traffic.read = 0;
  const stored = await openStoredRelease(line, await line.resolve({ tag: "2" }), environment);
  const machine = await machineOf(device, hashOf(first));
  const { blocks, fetched } = await stageRelease(storedContent(stored, environment), machine, environment);
  await stored.close();
  assert.ok(blocks.fetched <= 4 * 4096, `${blocks.fetched} bytes of blocks`);
  assert.ok(fetched <= 6000 && line.traffic.read <= 12_000, `${line.traffic.read} bytes, of which ${fetched} content`);
  assert.equal((await run(device)).rootHash, hashOf(second));
});

/** The repository, which breaks off once it has given `limit` bytes of content. */
function breakingOff(limit: number): MemoryRepository {
  let given = 0;
  const counted = (source: ClosableSource): ClosableSource => ({
    ...source,
    async read(offset, length) {
      if (given + length > limit) throw new SourceError("network", "memory: connection reset");
      given += length;
      return source.read(offset, length);
    },
  });
  return {
    ...repository,
    openBlob: async (descriptor) => counted(await repository.openBlob(descriptor)),
    open: async (descriptor) => sourceBlob(counted(await repository.openBlob(descriptor))),
  };
}

test("broken off anywhere, what is there is not fetched again but for what was on its way", async () => {
  const whole = fresh.copy();
  repository.traffic.read = 0;
  await stageStored("3", await machineOf(whole, hashOf(v1)));
  const all = repository.traffic.read;
  let most = 0;
  for (let limit = 20_000; limit < all; limit += 17_000) {
    const device = fresh.copy();
    repository.traffic.read = 0;
    const broken = breakingOff(limit);
    const stored = await openStoredRelease(broken, await broken.resolve({ tag: "3" }), environment);
    const machine = await machineOf(device, hashOf(v1));
    await assert.rejects(stageRelease(storedContent(stored, environment), machine, environment), { code: "network" });
    await stored.close();
    assert.equal((await run(device)).rootHash, hashOf(v1));
    const documents = 20_000;
    await stageStored("3", await machineOf(device, hashOf(v1)));
    assert.equal((await run(device)).rootHash, hashOf(v3));
    most = Math.max(most, repository.traffic.read - all - documents);
  }
  assert.ok(most <= FRAME_SIZE, `${most} bytes twice`);
});
