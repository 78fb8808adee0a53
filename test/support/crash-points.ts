/**
 * A power cut at every write of a story: what was flushed is there, of the rest anything. What is started then is exactly one of
 * the releases of the story, and an update completes.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { openFat } from "../../core/src/formats/fat/index.ts";
import type { PublishEnvironment } from "../../core/src/ops/publish/index.ts";
import { checkEsp, espVolume, fileContent, mendEsp, readSlots, stageRelease } from "../../core/src/ops/update/index.ts";
import { sliceSource } from "../../core/src/source/index.ts";
import { bootOracle, type Started } from "./boot-oracle.ts";
import { lossesOf, singlesOf, type Write, withWrites } from "./losses.ts";
import { boot, machineOf, started } from "./machines.ts";
import type { DeviceEvent, MemoryDevice } from "./memory-device.ts";
import { seededRandom } from "./mutate.ts";
import type { SampleRelease } from "./releases.ts";

/** Ways in which what is not flushed is lost at each write. */
const SUBSETS = process.env["ASHLAR_LONG"] === "true" ? 60 : 6;
/** Of how many points one is updated again. */
const RESUMED = 29;

export const hashOf = (release: SampleRelease) => release.release.rootHash;

/** Stages a release on a machine that runs another. */
export type Stage = (release: SampleRelease, device: MemoryDevice, running: SampleRelease) => Promise<void>;

export function stageWith(environment: PublishEnvironment): Stage {
  return async (release, device, running) => {
    await stageRelease(fileContent(release, environment), await machineOf(device, hashOf(running)), environment);
  };
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

export interface Story {
  readonly from: MemoryDevice;
  readonly old: SampleRelease;
  readonly wanted: SampleRelease;
  /** What else is started, where that is not what runs. */
  readonly first?: SampleRelease;
  /** What was not confirmed before, and so is never started without a counter; default: what is wanted. */
  readonly counted?: readonly SampleRelease[];
  readonly run: (device: MemoryDevice) => Promise<unknown>;
  readonly stage: Stage;
  /** What is done again where the old release runs; default: what is wanted is staged. */
  readonly again?: (device: MemoryDevice) => Promise<unknown>;
}

/** Cuts the power everywhere in a story, and where that needs mending everywhere in the mending; returns what was found. */
export async function cutEverywhere(name: string, story: Story): Promise<string> {
  const { from, old, wanted, first, run } = story;
  const recorded = from.copy();
  await run(recorded);
  const releases = [old, wanted, ...(first === undefined ? [] : [first])];
  const ukis = new Map(releases.map((release) => [digestOf(release), release]));
  const seen = new Map<string, number>();
  let points = 0;
  let resumed = 0;
  let mended = 0;
  for (const device of cut(from, recorded.events, name)) {
    const at = `${name}, point ${points}`;
    const { found, release } = startedOf(device, story, ukis, at);
    const which = release === wanted ? "new" : "old";
    seen.set(which, (seen.get(which) ?? 0) + 1);
    if (points++ % RESUMED !== 0) continue;
    resumed++;
    if (await mend(device, (one) => startedOf(one, story, ukis, `${at}, mended in part`), found)) mended++;
    await goOn(device, release, story);
  }
  assert.equal(started(bootOracle(recorded)).rootHash, hashOf(wanted));
  assert.ok((seen.get("old") ?? 0) > 0 && (seen.get("new") ?? 0) > 0);
  const counts = [...seen].map(([which, count]) => `${which} ${count}`).join(", ");
  return `${name}: ${recorded.events.length} events, ${points} points: ${counts}; ${resumed} updated again, ${mended} ESPs mended`;
}

function digestOf({ release }: SampleRelease): string {
  return release.artifacts.find(({ role }) => role === "uki")!.digest;
}

/** What boots, which is one of the story's releases, and is tried no longer than it may be. */
function startedOf(
  device: MemoryDevice,
  { wanted, counted = [wanted] }: Story,
  ukis: ReadonlyMap<string, SampleRelease>,
  at: string,
): { readonly found: Started; readonly release: SampleRelease } {
  const found = bootOracle(device);
  assert.ok("rootHash" in found, `${at}: ${"why" in found ? found.why : ""}`);
  const release = ukis.get(`sha256:${found.ukiDigest}`);
  assert.ok(release !== undefined && hashOf(release) === found.rootHash, `${at}: ${found.entry} is started`);
  if (counted.includes(release))
    assert.match(found.entry, /\+\d+(?:-\d+)?\.efi$/, `${at}: started without an end of its tries`);
  return { found, release };
}

/** The ESP is mended before it is mounted, and the power may go then too. */
async function mend(device: MemoryDevice, look: (device: MemoryDevice) => unknown, found: Started): Promise<boolean> {
  const { esp } = await readSlots(device, "x86-64");
  const before = device.copy();
  const volume = espVolume(device, esp);
  const seen = await checkEsp(volume);
  const from = device.events.length;
  const report = await mendEsp(volume);
  assert.deepEqual(report, seen, "what is found is what is mended");
  assert.deepEqual(report.damaged, []);
  for (const one of cut(before, device.events.slice(from), "mend")) look(one);
  await openFat(sliceSource(device, esp.start, esp.size)); // throws for what is crossed or broken
  assert.deepEqual(await mendEsp(volume), { removed: [], freed: 0, damaged: [] });
  assert.equal(started(bootOracle(device)).rootHash, found.rootHash, "mending changes nothing that is started");
  return report.removed.length + report.freed > 0;
}

/** The machine starts, and what was broken off is made again. */
async function goOn(device: MemoryDevice, runs: SampleRelease, { old, wanted, stage, again }: Story): Promise<void> {
  await boot(device, { isGood: true });
  if (again === undefined || runs !== old) await stage(wanted, device, runs);
  else await again(device);
  assert.equal(started(bootOracle(device)).rootHash, hashOf(wanted));
  const { esp } = await readSlots(device, "x86-64");
  await openFat(sliceSource(device, esp.start, esp.size));
  const next = await boot(device, { isGood: true });
  assert.equal(next.rootHash, hashOf(wanted));
}
