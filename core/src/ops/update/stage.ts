/**
 * Puts a release into the inactive slot of a machine that runs. docs/updates.md has the state machine; the order of the steps
 * is what makes it safe to stop anywhere, and each of them finds out first what of it is done already.
 */
import { toHex } from "../../bytes/index.ts";
import { IntegrityError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { emitHashDevice, hashDeviceSize } from "../../formats/verity/index.ts";
import { bytesSource, forwardSink, type Piece, piecewiseSource, type Source, sliceSource } from "../../source/index.ts";
import { verityOf } from "../publish/index.ts";
import {
  type BootEntries,
  type BootEntry,
  ENTRY_FOLDER,
  formatEntryName,
  parseEntryName,
  readBootEntries,
} from "./boot-entries.ts";
import type { ContentEnvironment, LocalRoot, ReleaseContent, VerifiedTree } from "./content.ts";
import { bringTo, firstDifference } from "./device.ts";
import { isSetBack, planEntryOrder, planReturn } from "./entry-order.ts";
import { copyLocalBlocks, firstWrongBlock, surveyRunning, surveyTarget, type Target } from "./local-blocks.ts";
import { localRoot } from "./local-root.ts";
import type { Machine, Staged, StageOptions } from "./machine.ts";
import { openSlotRoot } from "./slot-root.ts";
import { markFilled, markFree } from "./slot-table.ts";
import { type RunningSlot, readSlots, runningSlot, type Slot } from "./slots.ts";
import { findLeftovers, findUki, freeStem, nameUki, removeEntries, renameEntries, writeUki } from "./stage-entry.ts";
import { assertSystem, type System } from "./system.ts";

const DEFAULT_TRIES = 3;
/** Bytes that a volume needs besides a file: a directory that grows, and the rest of a cluster. */
const ESP_SLACK = 256 * 1024;

/**
 * Stages a release: it is started next, and the one that runs is started again where it fails. Where it throws before
 * `invalidate` nothing has changed; whenever it stops, what runs is started again, and the next call goes on.
 *
 * Throws PolicyError `not-this-disk`, `wrong-architecture`, `slot-too-small`, `esp-full`, `no-running-entry`,
 * `running-unconfirmed`, `entry-order`; UnsupportedError `not-a-system`, `no-slots`, `verity-sectors`; IntegrityError for a release
 * that is not what it says, and for a disk that does not give back what was written (`write-mismatch`); what the ports throw.
 */
export async function stageRelease(
  content: ReleaseContent,
  machine: Machine,
  environment: ContentEnvironment,
  options: StageOptions = {},
): Promise<Staged> {
  await options.onStep?.("preflight");
  const stage = await prepare(content, machine, environment, options);
  const { system, slots, isRunning } = stage;
  const filled = isRunning ? undefined : await fillSlot(stage, content, machine, environment, options);
  const entry = await stageEntry(stage, content, machine, environment, options);
  const total = system.root.size;
  const blocks = filled?.blocks ?? { total, kept: total, copied: 0, fetched: 0 };
  const isNew = filled?.isNew === true;
  return {
    change: isNew ? "slot" : entry.isNew ? (isRunning ? "uki" : "slot") : "none",
    slot: isRunning ? slots.running.name : slots.inactive.name,
    rootHash: content.release.rootHash,
    entry: entry.name,
    held: entry.held,
    fetched: (filled?.fetched ?? 0) + entry.fetched,
    blocks,
    recipe: content.recipe,
  };
}

interface Stage {
  readonly system: System;
  readonly slots: RunningSlot;
  /** The release has the root that runs: it is another UKI alone. */
  readonly isRunning: boolean;
  readonly found: BootEntries;
  /** The entry that has the UKI of the release already. */
  readonly present: BootEntry | undefined;
  /** Files that go before the slot is written to: entries that boot it, and what broken runs left. */
  readonly obsolete: readonly string[];
}

async function prepare(
  content: ReleaseContent,
  machine: Machine,
  environment: ContentEnvironment,
  options: StageOptions,
): Promise<Stage> {
  const { release } = content;
  const system = assertSystem(content);
  const { device, esp, architecture, running } = machine;
  if (system.architecture.systemd !== architecture)
    throw new PolicyError("wrong-architecture", `${content.name}: is for ${release.architecture}, not ${architecture}`);
  const slots = runningSlot(await readSlots(device, architecture, environment), running);
  assertFits(content, slots.inactive, device.sectorSize);
  const found = await readBootEntries(esp, environment);
  const own = found.entries.filter(({ rootHash }) => rootHash === running);
  if (own.length === 0)
    throw new PolicyError("no-running-entry", `${esp.name}: has no entry of the release that runs`, { path: esp.name });
  if (options.ignoreUnconfirmed !== true && own.every((entry) => entry.counter !== undefined && !isSetBack(entry)))
    throw new PolicyError(
      "running-unconfirmed",
      `the release that runs is not confirmed yet: ${own[0]?.name}; there would be nothing to fall back to`,
    );
  const present = await findUki(esp, found.entries, system.uki, environment);
  const isRunning = release.rootHash === running;
  const left = await findLeftovers(esp, found, system.uki);
  const leftover = left.others.map(({ name }) => name);
  const products = new Set([system.imageId, ...own.map(({ sortKey }) => sortKey)]);
  const stale = found.entries
    .filter((entry) => isStale(entry, running, slots.inactive, products))
    .map(({ name }) => name);
  const obsolete = isRunning ? leftover : [...leftover, ...stale];
  const stage = { system, slots, isRunning, found, present, obsolete };
  planOrder(stage, machine, options); // throws before anything is changed
  if (present === undefined) await assertSpace(stage, esp, left.own?.size ?? 0);
  return stage;
}

/** Whether an entry boots what the inactive slot held, or nothing on this disk. What others put there stays. */
function isStale(
  { rootHash, sortKey }: BootEntry,
  running: string, // not by the slot: whatever its label says, its entry stays
  inactive: Slot,
  products: ReadonlySet<string>,
): boolean {
  if (rootHash === undefined || rootHash === running) return false;
  return rootHash === inactive.rootHash || products.has(sortKey);
}

/** Throws PolicyError `slot-too-small`; UnsupportedError `verity-sectors`. */
function assertFits({ name, release }: ReleaseContent, { root, verity, name: slot }: Slot, sectorSize: number): void {
  const { dataBlocks, dataBlockSize, hashBlockSize } = release.verity;
  if (dataBlockSize < sectorSize || hashBlockSize < sectorSize)
    throw new UnsupportedError(
      "verity-sectors",
      `the release is sealed in blocks of ${Math.min(dataBlockSize, hashBlockSize)} bytes; a disk with sectors of ${sectorSize} bytes cannot read them`,
    );
  const hashSize = hashDeviceSize(dataBlocks, verityOf(release));
  for (const [what, needed, there] of [
    ["root", dataBlocks * dataBlockSize, root.size],
    ["hash tree", hashSize, verity.size],
  ] as const)
    if (needed > there)
      throw new PolicyError(
        "slot-too-small",
        `${name}: its ${what} has ${needed} bytes, slot ${slot} has room for ${there}`,
        {
          expected: there,
          actual: needed,
        },
      );
}

/** Throws PolicyError `esp-full`. The entries of what runs stay whatever happens. */
async function assertSpace(
  { system: { uki }, found, obsolete }: Stage,
  esp: Machine["esp"],
  written: number,
): Promise<void> {
  const sizes = new Map(
    [...found.entries, ...found.unusable, ...(await esp.list(ENTRY_FOLDER))].map((one) => [one.name, one.size]),
  );
  const freed = obsolete.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
  const there = (await esp.free()) + freed + written;
  const needed = uki.size + ESP_SLACK;
  if (needed > there)
    throw new PolicyError("esp-full", `${esp.name}: ${needed} bytes are needed for the new UKI, ${there} can be had`, {
      path: esp.name,
      expected: needed,
      actual: there,
    });
}

/** The entry that will be started, and what has to be renamed for it. */
function planOrder(
  { system, found, present, obsolete, slots }: Pick<Stage, "system" | "found" | "present" | "obsolete" | "slots">,
  { running }: Machine,
  { tries = DEFAULT_TRIES }: StageOptions,
) {
  const others = found.entries.filter(({ name }) => name !== present?.name && !obsolete.includes(name));
  const stem =
    present?.stem ?? freeStem(system, [...others, ...found.unusable.flatMap(({ name }) => parseEntryName(name) ?? [])]);
  const identity = { stem, sortKey: system.imageId, version: system.imageVersion };
  // What runs, and was confirmed or has been set back by us, needs no tries.
  const isKnown = present?.rootHash === running && (present.counter === undefined || isSetBack(present));
  const counter = isKnown ? undefined : { left: tries, done: 0 };
  const wanted = { ...identity, counter, name: formatEntryName({ stem, counter }) };
  if (isKnown) return { wanted, ...planReturn(wanted, others, (entry) => entry.rootHash === slots.inactive.rootHash) };
  return { wanted, ...planEntryOrder(wanted, others, (entry) => entry.rootHash === running) };
}

interface Filled {
  readonly isNew: boolean;
  readonly fetched: number;
  readonly blocks: Staged["blocks"];
}

/** Makes the inactive slot hold the root, and says so in the partition table. */
async function fillSlot(
  { system, slots: { running, inactive }, found, obsolete }: Stage,
  content: ReleaseContent,
  machine: Machine,
  environment: ContentEnvironment,
  { recipes, onStep, onRoot }: StageOptions,
): Promise<Filled> {
  const { device, esp, architecture } = machine;
  const { release } = content;
  const { reporter, signal } = environment;
  const [source, old] = [await openSlotRoot(device, running), await openSlotRoot(device, inactive)];
  const localRoots: LocalRoot[] = [];
  for (const [rootHash, root] of [
    [machine.running, source],
    [inactive.rootHash, old],
  ] as const)
    if (root !== undefined && rootHash !== undefined && root.hasSameHash(verityOf(release)))
      localRoots.push({ leaves: root.leaves, recipe: recipes?.get(rootHash) });
  const tree = await content.readTree({ signal, localRoots });
  const parameters = verityOf(release);
  const target: Target = { device, ...inactive.root, parameters, leaves: tree.leaves };
  const hashDevice = await hashDeviceSource(tree, release.verity);
  const count = release.verity.dataBlocks;
  const { dataBlockSize: blockSize } = parameters;

  const looking = reporter.start("looking at what is there", count * blockSize);
  const survey = await surveyTarget(target, old?.blocks ?? 0, { ...environment, onProgress: looking.advance });
  looking.end();
  const isWhole =
    inactive.rootHash === release.rootHash &&
    survey.kept === count &&
    (await firstDifference(device, inactive.verity.start, hashDevice, { signal })) === undefined;
  if (source !== undefined) await surveyRunning(survey, target, source, environment);
  if (onRoot !== undefined) {
    const remote = await content.openRoot();
    try {
      await onRoot(localRoot(survey, target, source, remote, environment));
    } finally {
      await remote.close();
    }
  }
  let fetched = 0;
  if (!isWhole) {
    await onStep?.("invalidate");
    await removeEntries(esp, obsolete, found.entries);
    await markFree(device, inactive, architecture, system.imageId, environment.hashes);

    await onStep?.("blocks");
    await copyLocalBlocks(survey, target, source, environment);
    fetched = await content.fillRoot(tree, survey.there, {
      writeAt: (offset, bytes) => device.writeAt(target.start + offset, bytes),
    });
    await onStep?.("tree");
    await bringTo(device, inactive.verity.start, hashDevice, { signal });
    await device.flush();

    await onStep?.("read-back");
    await readBack(target, inactive, hashDevice, environment);
    await onStep?.("label");
  }
  await markFilled(device, inactive, architecture, system);
  const kept = survey.kept * blockSize;
  const copied = survey.copied * blockSize;
  const total = count * blockSize;
  return { isNew: !isWhole, fetched, blocks: { total, kept, copied, fetched: total - kept - copied } };
}

/** The hash device as it is to be, in memory but for nothing: the tree has its levels already. */
async function hashDeviceSource({ tree }: VerifiedTree, { uuid }: { readonly uuid: string }): Promise<Source> {
  const pieces: Piece[] = [];
  const sink = forwardSink({
    writeAt: async (at, bytes) => {
      pieces.push({ at, source: bytesSource(bytes) });
    },
  });
  await emitHashDevice(sink, tree, { uuid });
  return piecewiseSource(sink.position, pieces);
}

/** Throws IntegrityError `write-mismatch`. */
async function readBack(
  target: Target,
  { name, verity }: Slot,
  hashDevice: Source,
  { blockHasher, reporter, signal }: ContentEnvironment,
): Promise<void> {
  const { device } = target;
  if (!(await device.dropCache()))
    reporter.note({
      code: "read-from-cache",
      message: `${device.name}: this machine cannot empty its cache, so what is checked may come from memory`,
    });
  const task = reporter.start("reading back", target.leaves.length);
  const wrong = await firstWrongBlock(target, { blockHasher, signal });
  const different = await firstDifference(device, verity.start, hashDevice, { signal });
  task.end();
  if (wrong === undefined && different === undefined) return;
  const what = wrong === undefined ? `hash tree: byte ${different}` : `root: block ${wrong}`;
  throw new IntegrityError(
    "write-mismatch",
    `${device.name}: what was written to slot ${name} does not read back: ${what}`,
    {
      path: device.name,
    },
  );
}

interface StagedEntry {
  readonly name: string;
  readonly isNew: boolean;
  readonly held: boolean;
  readonly fetched: number;
}

/** Makes the boot loader start the release next. */
async function stageEntry(
  stage: Stage,
  content: ReleaseContent,
  machine: Machine,
  environment: ContentEnvironment,
  options: StageOptions,
): Promise<StagedEntry> {
  const { esp } = machine;
  const { system } = stage;
  const found = await readBootEntries(esp, environment);
  const present = await findUki(esp, found.entries, system.uki, environment);
  // What boots neither slot would be in the way; what boots this one, and is another UKI, is older than this.
  const obsolete = stage.obsolete.filter((name) =>
    found.entries.some((entry) => entry.name === name && name !== present?.name),
  );
  const { wanted, before, after } = planOrder({ ...stage, found, present, obsolete }, machine, options);
  const leftover = (await findLeftovers(esp, found, system.uki)).others.map(({ name }) => name);
  if (present?.name !== wanted.name || before.length + after.length + obsolete.length > 0)
    await options.onStep?.("entry");
  await removeEntries(esp, [...obsolete, ...leftover], found.entries);
  const { running, inactive } = stage.slots;
  const root = sliceSource(machine.device, (stage.isRunning ? running : inactive).root.start, system.root.size);
  const fetched = present === undefined ? await writeUki(content, system, esp, root, environment) : 0;
  if (options.hold === true && present?.name !== wanted.name)
    return { name: wanted.name, isNew: present === undefined, held: true, fetched };
  await options.beforeEntry?.();
  const own = present === undefined || present.name === wanted.name ? [] : [{ from: present.name, to: wanted.name }];
  await renameEntries(esp, before, found, machine.running);
  if (present === undefined) await nameUki(esp, system.uki, wanted.name);
  await renameEntries(esp, [...own, ...after], found, machine.running);

  const [started] = (await readBootEntries(esp, environment)).entries;
  if (started?.name !== wanted.name || started.rootHash !== toHex(system.rootHash))
    throw new IntegrityError(
      "entry-mismatch",
      `${esp.name}: the boot loader would start ${started?.name ?? "nothing"}, not ${wanted.name}`,
      { path: esp.name, expected: wanted.name, actual: started?.name },
    );
  return { name: wanted.name, isNew: present === undefined, held: false, fetched };
}
