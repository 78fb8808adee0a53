// A power cut at every write of an update: what was flushed is there, of the rest anything. What is started then is exactly the old
// release or exactly the new one, and the next update completes.
import assert from "node:assert/strict";
import process from "node:process";
import { before, test } from "node:test";
import { openFat } from "../../core/src/formats/fat/index.ts";
import { openStoredRelease, pushReleases } from "../../core/src/ops/publish/index.ts";
import {
  checkEsp,
  espVolume,
  fileContent,
  mendEsp,
  readSlots,
  rollbackTo,
  stageRelease,
  storedContent,
} from "../../core/src/ops/update/index.ts";
import { bytesSource, sliceSource } from "../../core/src/source/index.ts";
import { bootOracle, type Started } from "../support/boot-oracle.ts";
import { lossesOf, singlesOf, type Write, withWrites } from "../support/losses.ts";
import { boot, espOf, installed, machineOf, started } from "../support/machines.ts";
import type { DeviceEvent, MemoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { seededRandom } from "../support/mutate.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
/** Ways in which what is not flushed is lost at each write. */
const SUBSETS = isLong ? 60 : 6;
/** Of how many points one is updated again. */
const RESUMED = 29;
const environment = await publishEnvironment();
const COMMON = { "usr/bin/tool": noise(300_000, "tool"), "usr/share/zeros": new Uint8Array(100_000) };
let v1: SampleRelease;
let v2: SampleRelease;
let rebuilt: SampleRelease;
let fresh: MemoryDevice;
const repository: MemoryRepository = memoryRepository();
before(async () => {
  const small = { initrd: noise(150_000, "initrd"), kernel: noise(100_000, "kernel") };
  v1 = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment, small);
  rebuilt = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment, { ...small, kargs: "quiet" });
  const moved = { "a-new-file": noise(60_000, "new"), "etc/conf": "a = 2\n" };
  v2 = await systemRelease({ ...COMMON, ...moved }, environment, { ...small, version: "2" });
  fresh = await installed(v1, environment);
  await pushReleases([v1], repository, { tag: "1" }, environment);
  await pushReleases([v2], repository, { tag: "2" }, environment);
});

const hashOf = (release: SampleRelease) => release.release.rootHash;

async function stage(release: SampleRelease, device: MemoryDevice, running: SampleRelease): Promise<void> {
  await stageRelease(fileContent(release, environment), await machineOf(device, hashOf(running)), environment);
}

async function stageStored(tag: string, device: MemoryDevice, running: SampleRelease): Promise<number> {
  const stored = await openStoredRelease(repository, await repository.resolve({ tag }), environment);
  try {
    const machine = await machineOf(device, hashOf(running));
    return (await stageRelease(storedContent(stored, environment), machine, environment)).fetched;
  } finally {
    await stored.close();
  }
}

/** Disks as a power cut at each write leaves them: the flushed ones there, the rest in part, in another order, torn at sectors. */
function* cut(before: MemoryDevice, events: readonly DeviceEvent[], seed: string): Generator<MemoryDevice> {
  const random = seededRandom(seed);
  let stable = before.copy();
  let pending: Write[] = [];
  for (const event of events) {
    if (event.type === "flush") {
      for (const writes of singlesOf(pending)) yield withWrites(stable, writes);
      stable = withWrites(stable, pending);
      pending = [];
      yield stable.copy();
      continue;
    }
    pending.push(event);
    yield withWrites(stable, pending);
    for (const writes of lossesOf(pending, random, SUBSETS)) yield withWrites(stable, writes);
  }
}

interface Story {
  readonly from: MemoryDevice;
  readonly old: SampleRelease;
  readonly wanted: SampleRelease;
  /** What else is started, where that is not what runs. */
  readonly first?: SampleRelease;
  /** False where `wanted` was confirmed before: it needs no tries then. */
  readonly isCounted?: boolean;
  readonly run: (device: MemoryDevice) => Promise<unknown>;
}

/** Cuts the power everywhere in a story; returns what was found. */
async function cutEverywhere(
  name: string,
  { from, old, wanted, first, isCounted = true, run }: Story,
): Promise<string> {
  const recorded = from.copy();
  await run(recorded);
  const releases = [old, wanted, ...(first === undefined ? [] : [first])];
  const ukis = new Map(releases.map((release) => [digestOf(release), release]));
  const seen = new Map<string, number>();
  let points = 0;
  let resumed = 0;
  let mended = 0;
  for (const device of cut(from, recorded.events, name)) {
    const found = bootOracle(device);
    assert.ok("rootHash" in found, `${name}, point ${points}: ${"why" in found ? found.why : ""}`);
    const release = ukis.get(`sha256:${found.ukiDigest}`);
    assert.equal(release && hashOf(release), found.rootHash, `${name}, point ${points}: ${found.entry}`);
    const which = release === wanted ? "new" : "old";
    if (which === "new" && isCounted)
      assert.match(found.entry, /\+\d+\.efi$/, `${name}, point ${points}: started without an end of its tries`);
    seen.set(which, (seen.get(which) ?? 0) + 1);
    if (points++ % RESUMED !== 0) continue;
    resumed++;
    mended += await goOn(device, found, wanted, release ?? old);
  }
  assert.equal(started(bootOracle(recorded)).rootHash, hashOf(wanted));
  assert.ok((seen.get("old") ?? 0) > 0 && (seen.get("new") ?? 0) > 0);
  const counts = [...seen].map(([which, count]) => `${which} ${count}`).join(", ");
  return `${name}: ${recorded.events.length} events, ${points} points: ${counts}; ${resumed} updated again, ${mended} ESPs mended`;
}

function digestOf({ release }: SampleRelease): string {
  return release.artifacts.find(({ role }) => role === "uki")!.digest;
}

/** The machine starts, the ESP is mended before it is mounted, and the update is made again. */
async function goOn(device: MemoryDevice, found: Started, wanted: SampleRelease, runs: SampleRelease): Promise<number> {
  const slots = await readSlots(device, "x86-64");
  const strict = () => openFat(sliceSource(device, slots.esp.start, slots.esp.size));
  const volume = espVolume(device, slots.esp);
  const seen = await checkEsp(volume);
  const report = await mendEsp(volume);
  assert.deepEqual(report, seen, "what is found is what is mended");
  assert.deepEqual(report.damaged, []);
  await strict(); // throws for what is crossed or broken
  assert.deepEqual(await mendEsp(volume), { removed: [], freed: 0, damaged: [] });
  assert.equal(started(bootOracle(device)).rootHash, found.rootHash, "mending changes nothing that is started");
  await boot(device, { isGood: true });
  await stage(wanted, device, runs);
  assert.equal(started(bootOracle(device)).rootHash, hashOf(wanted));
  await strict();
  const next = await boot(device, { isGood: true });
  assert.equal(next.rootHash, hashOf(wanted));
  return report.removed.length + report.freed > 0 ? 1 : 0;
}

test("an update into a free slot, from a repository", async (t) => {
  const run = (device: MemoryDevice) => stageStored("2", device, v1);
  t.diagnostic(await cutEverywhere("free slot", { from: fresh, old: v1, wanted: v2, run }));
});

test("an update whose entry has its long name in one sector and its short name in the next", async (t) => {
  const device = fresh.copy();
  const esp = await espOf(device);
  // Of 16 in a sector: 2 of the folder, 2 of the first entry, 2 of each of 3 others, 4 of the temporary name; 3 are needed.
  const others = Array.from({ length: 9 }, (_, i) => `EFI/Linux/note-${i}.txt`);
  for (const path of others) await esp.write(path, bytesSource(noise(10, "note")));
  for (const path of others.slice(3)) await esp.remove(path); // the folder has a second sector now
  const run = (disk: MemoryDevice) => stage(v2, disk, v1);
  t.diagnostic(await cutEverywhere("two sectors", { from: device, old: v1, wanted: v2, run }));
});

test("a release that failed gets its tries back", async (t) => {
  const device = fresh.copy();
  const esp = await espOf(device);
  // With these the new name lies in two sectors as well.
  for (const number of [1, 2, 3, 4]) await esp.write(`EFI/Linux/note-${number}.txt`, bytesSource(noise(10, "note")));
  await stage(v2, device, v1);
  for (let tries = 0; tries < 3; tries++) await boot(device, { isGood: false });
  const run = (disk: MemoryDevice) => stage(v2, disk, v1);
  t.diagnostic(await cutEverywhere("failed", { from: device, old: v1, wanted: v2, run }));
});

test("an update into a slot that holds a release", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true });
  const v3 = await systemRelease({ ...COMMON, "b-new-file": noise(50_000, "3") }, environment, { version: "3" });
  const run = (disk: MemoryDevice) => stage(v3, disk, v2);
  t.diagnostic(await cutEverywhere("used slot", { from: device, old: v2, wanted: v3, run }));
});

test("an update where an older release was chosen in the menu", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true }); // v2 is first; v1 runs all the same
  const v3 = await systemRelease({ ...COMMON, "b-new-file": noise(50_000, "3") }, environment, { version: "3" });
  const run = (disk: MemoryDevice) => stage(v3, disk, v1);
  t.diagnostic(await cutEverywhere("chosen", { from: device, old: v1, wanted: v3, first: v2, run }));
});

test("an update of the UKI alone", async (t) => {
  const run = (device: MemoryDevice) => stage(rebuilt, device, v1);
  t.diagnostic(await cutEverywhere("UKI", { from: fresh, old: v1, wanted: rebuilt, run }));
});

test("a rollback, and a switch to a lower version", async (t) => {
  const device = fresh.copy();
  await stage(v2, device, v1);
  await boot(device, { isGood: true });
  const back = async (disk: MemoryDevice) => rollbackTo(await machineOf(disk, hashOf(v2)));
  t.diagnostic(await cutEverywhere("rollback", { from: device, old: v2, wanted: v1, isCounted: false, run: back }));
  const v0 = await systemRelease({ ...COMMON, "etc/conf": "a = 0\n" }, environment, { version: "0" });
  const run = (disk: MemoryDevice) => stage(v0, disk, v2);
  t.diagnostic(await cutEverywhere("lower version", { from: device, old: v2, wanted: v0, run }));
});
