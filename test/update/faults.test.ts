// Disks and ESPs that fail, are full or lie, under an update: what is said, what is started, and that the next run heals it.
import assert from "node:assert/strict";
import process from "node:process";
import { before, test } from "node:test";
import { isAshlarError, SinkError, SourceError } from "../../core/src/errors/index.ts";
import { checkGpt } from "../../core/src/formats/gpt/index.ts";
import { openStoredRelease, PACK_TYPE, pushReleases, SECTION_TYPE } from "../../core/src/ops/publish/index.ts";
import {
  type EspFiles,
  fileContent,
  type Machine,
  readSlots,
  type Staged,
  type StageOptions,
  stageRelease,
  storedContent,
} from "../../core/src/ops/update/index.ts";
import { bytesSource, sliceSource } from "../../core/src/source/index.ts";
import { bootOracle } from "../support/boot-oracle.ts";
import { boot, installed, machineOf, started } from "../support/machines.ts";
import { type Faults, type MemoryDevice, memoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { SYSTEM_SIZES, systemRelease } from "../support/systems.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const environment = await publishEnvironment();
const COMMON = { "usr/bin/tool": noise(300_000, "tool"), "usr/lib/other": noise(100_000, "other") };
let v1: SampleRelease;
let v2: SampleRelease;
let fresh: MemoryDevice;
const repository: MemoryRepository = memoryRepository();
before(async () => {
  v1 = await systemRelease({ ...COMMON, "etc/conf": "a = 1\n" }, environment);
  const changed = { "etc/conf": "a = 2\n", "b-new-file": noise(30_000, "new") };
  v2 = await systemRelease({ ...COMMON, ...changed }, environment, { version: "2" });
  fresh = await installed(v1, environment);
  await pushReleases([v1], repository, { tag: "1" }, environment);
  await pushReleases([v2], repository, { tag: "2" }, environment);
});

const hashOf = (release: SampleRelease) => release.release.rootHash;
const rootHashOf = (device: MemoryDevice) => started(bootOracle(device)).rootHash;

async function stage(release: SampleRelease, machine: Machine, options?: StageOptions): Promise<Staged> {
  return stageRelease(fileContent(release, environment), machine, environment, options);
}

async function stageStored(machine: Machine, from = repository, tag = "2"): Promise<Staged> {
  const stored = await openStoredRelease(from, await from.resolve({ tag }), environment);
  try {
    return await stageRelease(storedContent(stored, environment), machine, environment);
  } finally {
    await stored.close();
  }
}

function withFaults(faults: Faults): MemoryDevice {
  return memoryDevice(fresh.size, { faults, from: fresh });
}

test("the running slot gives errors: those blocks are fetched, and all others are not", async () => {
  const { slots } = await readSlots(fresh, "x86-64");
  const { start } = slots[0].root;
  const whole = await stageStored(await machineOf(fresh.copy(), hashOf(v1)));
  for (const bad of [[20], [3, 4, 5, 60], [0]]) {
    const device = fresh.copy();
    const read = device.read.bind(device);
    const failing = Object.assign(device, {
      async read(offset: number, length: number) {
        const hits = bad.some((block) => offset < start + (block + 1) * 4096 && offset + length > start + block * 4096);
        if (hits) throw new SourceError("io-error", "disk: input/output error");
        return read(offset, length);
      },
    });
    const { blocks } = await stageStored(await machineOf(failing, hashOf(v1)));
    const more = (blocks.fetched - whole.blocks.fetched) / 4096;
    assert.ok(more >= 0 && more <= bad.length, `${more} blocks`);
    assert.equal(rootHashOf(failing), hashOf(v2));
  }
});

test("the running slot gives other bytes, in data and in its hash device: they are not taken", async () => {
  const { slots } = await readSlots(fresh, "x86-64");
  const whole = await stageStored(await machineOf(fresh.copy(), hashOf(v1)));
  const root = v1.files.get("sample_1.root.erofs")!.length;
  for (const [start, size] of [
    [slots[0].root.start, root],
    [slots[0].verity.start, 8192],
    [slots[0].verity.start + 4096, 4096],
    [slots[0].verity.start, 16],
  ] as const) {
    const device = fresh.copy();
    const flipped = Uint8Array.from(await device.read(start, size));
    for (let at = 0; at < size; at += 4096 * 3) flipped[at]! ^= 1;
    device.put(start, flipped);
    const { blocks } = await stageStored(await machineOf(device, hashOf(v1)));
    assert.ok(blocks.fetched >= whole.blocks.fetched);
    assert.equal(rootHashOf(device), hashOf(v2));
  }
});

test("a recipe that lies costs no more than none", async () => {
  const device = fresh.copy();
  const stored = await openStoredRelease(repository, await repository.resolve({ tag: "2" }), environment);
  const recipes = new Map([[hashOf(v1), stored.root.recipeBytes]]); // of another root
  await stageRelease(storedContent(stored, environment), await machineOf(device, hashOf(v1)), environment, { recipes });
  assert.equal(rootHashOf(device), hashOf(v2));
  const garbage = new Map([[hashOf(v1), noise(300, "garbage")]]);
  const next = fresh.copy();
  await stageRelease(storedContent(stored, environment), await machineOf(next, hashOf(v1)), environment, {
    recipes: garbage,
  });
  assert.equal(rootHashOf(next), hashOf(v2));
  await stored.close();
});

test("a disk that fails at any operation: what runs is started, and the next run completes", async () => {
  let operations = 0;
  const counting = withFaults({ fails: () => ++operations < 0 });
  await stage(v2, await machineOf(counting, hashOf(v1)));
  const first = await countOf();
  for (let at = first; at < operations; at += isLong ? 1 : Math.ceil(operations / 60)) {
    const device = withFaults({ fails: (_, count) => count === at });
    await stage(v2, await machineOf(device, hashOf(v1))).catch((error: unknown) =>
      assert.ok(isAshlarError(error) && error.code === "io-error", `operation ${at}: ${error}`),
    );
    const found = rootHashOf(device);
    assert.ok([hashOf(v1), hashOf(v2)].includes(found), `operation ${at}`);
    await stage(v2, await machineOf(device, hashOf(v1)));
    assert.equal(rootHashOf(device), hashOf(v2));
  }
});

/** Operations that finding the machine takes, before the update begins. */
async function countOf(): Promise<number> {
  let operations = 0;
  await machineOf(withFaults({ fails: () => ++operations < 0 }), hashOf(v1));
  return operations;
}

test("a disk that loses a write without a sign is found out before anything starts from it", async () => {
  const recorded = fresh.copy();
  await stage(v2, await machineOf(recorded, hashOf(v1)));
  const { slots, esp } = await readSlots(recorded, "x86-64");
  const writes = recorded.events.flatMap((event) => (event.type === "write" ? [event.offset] : []));
  for (const lost of new Set(writes)) {
    if (lost >= esp.start && lost < esp.start + esp.size) continue; // files of the ESP are read back as files
    const device = withFaults({ loses: (offset) => offset === lost });
    const isSlot = lost >= slots[1].root.start && lost < slots[1].verity.start + slots[1].verity.size;
    await assert.rejects(
      stage(v2, await machineOf(device, hashOf(v1))),
      { kind: "IntegrityError", code: "write-mismatch" },
      `${isSlot ? "slot" : "table"} ${lost}`,
    );
    assert.equal(rootHashOf(device), hashOf(v1));
  }
});

test("a partition table of which one copy is lost is whole after an update", async () => {
  for (const [at, length] of [
    [512, 512],
    [fresh.size - 512, 512],
    [1024, 16_384],
  ] as const) {
    const device = fresh.copy();
    device.put(at, new Uint8Array(length));
    await stage(v2, await machineOf(device, hashOf(v1)));
    assert.deepEqual((await checkGpt(device)).findings, []);
    assert.equal(rootHashOf(device), hashOf(v2));
  }
});

/** The machine with an ESP that does some things in another way. */
function withEsp(machine: Machine, change: Partial<EspFiles>): Machine {
  return { ...machine, esp: { ...machine.esp, ...change } };
}

test("an ESP that is full or read-only", async () => {
  const device = fresh.copy();
  const machine = await machineOf(device, hashOf(v1));
  const free = await machine.esp.free();
  await machine.esp.write("EFI/Linux/others.bin", bytesSource(new Uint8Array(free - 600_000)));
  const events = device.events.length;
  await assert.rejects(stage(v2, machine), { kind: "PolicyError", code: "esp-full" });
  assert.equal(device.events.length, events, "nothing has changed");
  await machine.esp.remove("EFI/Linux/others.bin");

  const refuse = async () => {
    throw new SinkError("read-only", "esp: read-only file system");
  };
  const readOnly = withEsp(machine, { write: refuse, rename: refuse, remove: refuse });
  await assert.rejects(stage(v2, readOnly), { code: "read-only" });
  assert.equal(rootHashOf(device), hashOf(v1));
  // A volume that is full at last, though it did not say so.
  let calls = 0;
  const late = withEsp(machine, {
    write: async (path, content, options) => {
      if (calls++ === 0) {
        await machine.esp.write(path, sliceSource(content, 0, 70_000), options);
        throw new SinkError("no-space", "esp: no space left on the device");
      }
      return machine.esp.write(path, content, options);
    },
  });
  await assert.rejects(stage(v2, late), { code: "no-space" });
  assert.equal(rootHashOf(device), hashOf(v1));
  await stage(v2, await machineOf(device, hashOf(v1)));
  assert.equal(rootHashOf(device), hashOf(v2));
});

test("an ESP that loses a write: the UKI is read back before it gets its name, and written once more", async () => {
  const { esp } = await readSlots(fresh, "x86-64");
  const recorded = fresh.copy();
  await stage(v2, await machineOf(recorded, hashOf(v1)));
  const large = recorded.events.filter(
    (event) =>
      event.type === "write" &&
      event.offset > esp.start &&
      event.offset < esp.start + esp.size &&
      event.bytes.length > 4096,
  );
  assert.ok(large.length > 3);
  const always = withFaults({
    loses: (at) => large.some((event) => event.type === "write" && event.offset <= at && at < esp.start + esp.size),
  });
  await assert.rejects(stage(v2, await machineOf(always, hashOf(v1))), { code: "digest-mismatch" });
  assert.equal(rootHashOf(always), hashOf(v1));
  for (const event of large) {
    const offset = event.type === "write" ? event.offset : 0;
    const device = withFaults({ loses: (at) => at === offset });
    await stage(v2, await machineOf(device, hashOf(v1)));
    const { ukiDigest } = started(bootOracle(device));
    assert.equal(`sha256:${ukiDigest}`, v2.release.artifacts.find(({ role }) => role === "uki")?.digest);
  }
});

test("releases that are refused change nothing", async () => {
  const refused = async (release: SampleRelease, code: string, options?: StageOptions) => {
    const device = fresh.copy();
    await assert.rejects(stage(release, await machineOf(device, hashOf(v1)), options), (error) => {
      assert.ok(isAshlarError(error) && error.code === code, `${code}: ${error}`);
      return true;
    });
    assert.deepEqual(device.events, [], code);
  };
  const sizes = { ...SYSTEM_SIZES, slotSize: 6 * 1024 * 1024 };
  await refused(await systemRelease({ big: noise(5_000_000, "big") }, environment, { sizes }), "slot-too-small");
  await refused({ ...v2, release: { ...v2.release, architecture: "arm64" } }, "wrong-architecture");
  await refused({ ...v2, release: { ...v2.release, rootHash: "00".repeat(32) } }, "root-hash-mismatch");
  const artifacts = v2.release.artifacts.filter(({ role }) => role !== "uki");
  await refused({ ...v2, release: { ...v2.release, artifacts } }, "not-a-system");
  const device = fresh.copy();
  await assert.rejects(stage(v2, await machineOf(device, "11".repeat(32))), { code: "not-this-disk" });
  const { esp } = await machineOf(device, hashOf(v1));
  await esp.rename("EFI/Linux/sample_1.efi", "EFI/Linux/sample_1+2-1.efi");
  await assert.rejects(stage(v2, await machineOf(device, hashOf(v1))), { code: "running-unconfirmed" });
  await esp.remove("EFI/Linux/sample_1+2-1.efi");
  await assert.rejects(stage(v2, await machineOf(device, hashOf(v1))), { code: "no-running-entry" });
});

test("a repository that lies: nothing starts from it, and the next run heals", async () => {
  const { digest } = await repository.resolve({ tag: "2" });
  const { layers } = JSON.parse(Buffer.from(repository.manifests.get(digest)!.bytes).toString()) as {
    layers: { mediaType: string; digest: never }[];
  };
  for (const { mediaType, digest: blob } of layers) {
    if (![PACK_TYPE, SECTION_TYPE].includes(mediaType)) continue;
    const bytes = repository.blobs.get(blob)!;
    const other = Uint8Array.from(bytes);
    other[Math.floor(bytes.length / 3)]! ^= 1;
    repository.blobs.set(blob, other);
    const device = fresh.copy();
    const result = await stageStored(await machineOf(device, hashOf(v1))).catch((error: unknown) => error);
    repository.blobs.set(blob, bytes);
    if (result instanceof Error) {
      assert.ok(isAshlarError(result) && ["IntegrityError", "FormatError"].includes(result.kind), `${result}`);
      assert.equal(rootHashOf(device), hashOf(v1));
    }
    await stageStored(await machineOf(device, hashOf(v1)));
    assert.equal(rootHashOf(device), hashOf(v2));
  }
});

test("an unconfirmed release may be replaced where that is asked for", async () => {
  const device = fresh.copy();
  await stage(v2, await machineOf(device, hashOf(v1)));
  await boot(device, { isGood: false });
  const v3 = await systemRelease(COMMON, environment, { version: "3" });
  await assert.rejects(stage(v3, await machineOf(device, hashOf(v2))), { code: "running-unconfirmed" });
  await stage(v3, await machineOf(device, hashOf(v2)), { ignoreUnconfirmed: true });
  assert.equal(rootHashOf(device), hashOf(v3));
});
