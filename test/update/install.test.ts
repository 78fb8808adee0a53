// Installing on disks in memory: the bytes, every place at which a run can break off, disks that fail, releases that lie.
import assert from "node:assert/strict";
import process from "node:process";
import { before, test } from "node:test";
import fc from "fast-check";
import { equalBytes } from "../../core/src/bytes/index.ts";
import { FormatError, isAshlarError, SinkError } from "../../core/src/errors/index.ts";
import { openGpt } from "../../core/src/formats/gpt/index.ts";
import { openDisk } from "../../core/src/ops/disk/index.ts";
import {
  LITERALS_TYPE,
  openStoredRelease,
  PACK_TYPE,
  pushReleases,
  SECTION_TYPE,
} from "../../core/src/ops/publish/index.ts";
import {
  fileContent,
  type Installed,
  type InstallOptions,
  installRelease,
  storedContent,
} from "../../core/src/ops/update/index.ts";
import { verifyDisk } from "../../core/src/ops/verify/index.ts";
import { type MemoryDevice, memoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { seededRandom } from "../support/mutate.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const MIB = 1024 * 1024;
const isLong = process.env["ASHLAR_LONG"] === "true";
/** Ways in which each write is torn, and in which writes that were not flushed are lost. */
const TEARS = isLong ? 40 : 5;
const environment = await publishEnvironment();

let release: SampleRelease;
let next: SampleRelease;
let built: Uint8Array;
before(async () => {
  const content = { "usr/bin/tool": noise(700_000, "tool"), "usr/share/zeros": new Uint8Array(300_000) };
  release = await systemRelease({ ...content, "etc/conf": "a = 1\n" }, environment);
  next = await systemRelease({ ...content, "etc/conf": "a = 2\n" }, environment, { version: "2" });
  built = release.files.get("sample_1.raw")!;
});

const install = (from: SampleRelease, device: MemoryDevice, options?: InstallOptions): Promise<Installed> =>
  installRelease(fileContent(from, environment), device, environment, options);

async function installStored(repository: MemoryRepository, device: MemoryDevice, options?: InstallOptions) {
  const stored = await openStoredRelease(repository, await repository.resolve({ tag: "1" }), environment);
  try {
    return await installRelease(storedContent(stored, environment), device, environment, options);
  } finally {
    await stored.close();
  }
}

async function pushed(from = release): Promise<MemoryRepository> {
  const repository = memoryRepository();
  await pushReleases([from], repository, { tag: "1" }, environment);
  repository.traffic.read = 0;
  return repository;
}

/** What a machine would start: the root hash of the one UKI, every block behind it verified; undefined where there is no table. */
async function booted(device: MemoryDevice): Promise<string | undefined> {
  try {
    await openGpt(device);
  } catch (error) {
    assert.ok(error instanceof FormatError);
    return undefined;
  }
  const gpt = await openGpt(device);
  const checks = (await verifyDisk(device, environment)).checks.filter(
    ({ ok, name }) => !ok && name !== "disk: partition tables",
  );
  assert.deepEqual(checks, [], `booted from the ${gpt.used} table`);
  const [uki] = (await openDisk(device)).ukis;
  return Buffer.from(uki?.rootHash ?? []).toString("hex");
}

test("a disk of the size that was built for becomes the built disk, bit for bit", async () => {
  const fromFiles = memoryDevice(built.length);
  const { checks, kept, fetched } = await install(release, fromFiles);
  assert.ok(equalBytes(fromFiles.bytes(), built));
  assert.ok(checks.length >= 6 && checks.every(({ ok }) => ok));
  assert.equal(fetched, 0);
  assert.ok(kept >= 300_000 - 4096, "zeros are there");

  const fromRepository = memoryDevice(built.length);
  const repository = await pushed();
  const installed = await installStored(repository, fromRepository);
  assert.ok(equalBytes(fromRepository.bytes(), built));
  const size = [...repository.blobs.values()].reduce((sum, { length }) => sum + length, 0);
  assert.ok(installed.fetched > 0 && repository.traffic.read <= size * 1.1, `${repository.traffic.read} of ${size}`);
});

test("on a larger disk slots and /var grow; what is written does not depend on what was there", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 40 * MIB }), fc.boolean(), fc.nat(), async (more, fromFiles, seed) => {
      const size = built.length + more - (more % 512);
      const blank = memoryDevice(size);
      const used = memoryDevice(size);
      const random = seededRandom(`${seed}`);
      for (let i = 0; i < 200; i++)
        await used.writeAt(random.below(size / 4096) * 4096, noise(4096, `${i}`).subarray(0, 512));
      const repository = await pushed();
      for (const device of [blank, used])
        await (fromFiles
          ? install(release, device, { wipe: true })
          : installStored(repository, device, { wipe: true }));
      const gpt = await openGpt(blank);
      for (const { start, size: length, name } of gpt.partitions) {
        const there = await used.read(start, length);
        if (name === "esp" || name.startsWith("sample")) continue; // free space and what is behind the root may hold anything
        assert.ok(equalBytes(there.subarray(0, MIB), new Uint8Array(MIB)), name);
        assert.ok(equalBytes(there.subarray(-MIB), new Uint8Array(MIB)), name);
      }
      assert.equal(await booted(used), release.release.rootHash);
      const end = gpt.partitions.at(-1)!;
      assert.ok(size - (end.start + end.size) < 2 * MIB, "nothing is left over");
    }),
    { numRuns: 8 },
  );
});

/** Disks as a run leaves them that is stopped at any write: with what was not flushed there, lost, in part or torn. */
function* stopped(before: MemoryDevice, { events }: MemoryDevice, seed: string): Generator<MemoryDevice> {
  const random = seededRandom(seed);
  let stable = before.copy(); // what is flushed
  let pending: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  const after = (writes: typeof pending): MemoryDevice => {
    const device = stable.copy();
    for (const { offset, bytes } of writes) device.put(offset, bytes);
    return device;
  };
  for (const event of events) {
    if (event.type === "flush") {
      stable = after(pending);
      pending = [];
      yield stable.copy();
      continue;
    }
    for (let i = 0; i < TEARS; i++) {
      const torn = { ...event, bytes: event.bytes.subarray(0, 512 * random.below(event.bytes.length / 512)) };
      yield after([...pending, torn]);
      yield after([torn]);
    }
    pending.push(event);
    yield after(pending);
    for (let i = 0; i < TEARS; i++) yield after(pending.filter(() => random.below(2) === 0));
  }
}

test("stopped at any write, torn or reordered: the old system, the new one or none, and the next run completes", async (t) => {
  const size = built.length + 8 * MIB;
  const blank = memoryDevice(size);
  const old = memoryDevice(size);
  await install(release, old);
  const repository = await pushed(next);
  const cases: [MemoryDevice, (device: MemoryDevice) => Promise<unknown>][] = [
    [old, (device) => install(next, device, { wipe: true })],
    [old, (device) => installStored(repository, device, { wipe: true })],
    [blank, (device) => installStored(repository, device, { wipe: true })],
  ];
  for (const [index, [before, run]] of cases.entries()) {
    const allowed = [await booted(before), undefined, next.release.rootHash];
    const recorded = before.copy();
    await run(recorded);
    const seen = new Map<string | undefined, number>();
    let points = 0;
    for (const device of stopped(before, recorded, `stopped ${index}`)) {
      const found = await booted(device);
      assert.ok(allowed.includes(found), `point ${points}: ${found}`);
      seen.set(found, (seen.get(found) ?? 0) + 1);
      if (points++ % (isLong ? 1 : 25) !== 0) continue;
      await run(device);
      assert.equal(await booted(device), next.release.rootHash);
    }
    assert.deepEqual(new Set(seen.keys()), new Set(allowed));
    const counts = [...seen].map(([hash, count]) => `${hash?.slice(0, 8) ?? "nothing"} ${count}`);
    t.diagnostic(`${recorded.events.length} writes and flushes, ${points} points: ${counts.join(", ")}`);
  }
});

test("what is right on the disk is not fetched again", async () => {
  const repository = await pushed();
  const whole = memoryDevice(built.length);
  const { fetched } = await installStored(repository, whole);
  const again = await installStored(repository, whole, { wipe: true });
  assert.equal(again.fetched, 0);
  assert.equal(again.kept, release.files.get("sample_1.root.erofs")!.length);
  assert.ok(equalBytes(whole.bytes(), built));

  for (const stop of [1, 2, 3, 4]) {
    let writes = 0;
    const device = memoryDevice(built.length, {
      faults: { fails: (operation) => operation === "write" && ++writes === stop },
    });
    await assert.rejects(installStored(repository, device), SinkError);
    assert.equal(await booted(device), undefined);
    const before = device.traffic.written;
    const result = await installStored(repository, device); // without --wipe: both ends are blank
    assert.ok(result.fetched <= fetched);
    assert.ok(before < MIB || result.kept > 300_000);
    assert.ok(equalBytes(device.bytes(), built));
  }
});

test("a disk that fails: the error is told, nothing boots, and a disk that heals takes the next run", async () => {
  const healthy = memoryDevice(built.length);
  let operations = 0;
  const counting = memoryDevice(built.length, { faults: { fails: () => ++operations < 0 } });
  await install(release, counting);
  await install(release, healthy);
  for (let at = 0; at < operations; at += isLong ? 1 : Math.ceil(operations / 15)) {
    const device = memoryDevice(built.length, { faults: { fails: (_, count) => count === at } });
    await assert.rejects(install(release, device), (error) => {
      assert.ok(isAshlarError(error) && (error.code === "io-error" || error.code === "write-mismatch"), `${error}`);
      return true;
    });
    const found = await booted(device);
    assert.ok(found === undefined || found === release.release.rootHash);
    await install(release, device, { wipe: true });
    assert.ok(equalBytes(device.bytes(), built));
  }
});

test("a disk that loses a write is found out before it gets a table", async () => {
  const counted = memoryDevice(built.length);
  await install(release, counted);
  const writes = counted.events.flatMap((event) => (event.type === "write" ? [event.offset] : []));
  for (const [index, lost] of writes.entries()) {
    const device = memoryDevice(built.length, { faults: { loses: (offset) => offset === lost } });
    await assert.rejects(
      install(release, device),
      (error) => isAshlarError(error) && error.kind === "IntegrityError",
      `write ${index} at ${lost}`,
    );
    if (index < writes.length - 2) assert.equal(await booted(device), undefined); // the last two are the tables
  }
});

/** The release with one file changed at one byte. */
function tampered(name: string, at: number): SampleRelease {
  const files = new Map(release.files);
  const bytes = Uint8Array.from(files.get(name)!);
  bytes[at]! ^= 1;
  files.set(name, bytes);
  return {
    ...release,
    files,
    open: async (wanted) =>
      release.open(wanted).then((source) => ({
        ...source,
        read: async (offset, length) => files.get(wanted)!.slice(offset, offset + length),
      })),
  };
}

for (const [name, at, code] of [
  ["sample_1.root.erofs", 300_000, "verity-mismatch"],
  ["sample_1.root.verity", 4096 + 40, undefined], // an upper level, which is made anew
  ["sample_1.root.verity", 8192 + 40, "root-hash-mismatch"],
  ["sample_1.efi", 250_000, "digest-mismatch"],
  ["sample_1.raw", 3 * MIB, "digest-mismatch"],
] as const)
  test(`a flipped bit in ${name} at ${at}`, async () => {
    const device = memoryDevice(built.length);
    const result = install(tampered(name, at), device);
    if (code === undefined) {
      await result;
      assert.ok(equalBytes(device.bytes(), built));
      return;
    }
    await assert.rejects(result, { kind: "IntegrityError", code });
    assert.equal(await booted(device), undefined);
  });

test("a flipped bit in a blob of the repository", async () => {
  const { digest } = await (await pushed()).resolve({ tag: "1" });
  const layers = JSON.parse(Buffer.from((await pushed()).manifests.get(digest)!.bytes).toString()).layers as {
    mediaType: string;
    digest: never;
  }[];
  for (const { mediaType, digest } of layers) {
    const repository = await pushed();
    const bytes = Uint8Array.from(repository.blobs.get(digest)!);
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    repository.blobs.set(digest, bytes);
    const device = memoryDevice(built.length);
    await assert.rejects(
      installStored(repository, device),
      (error) => isAshlarError(error) && ["IntegrityError", "FormatError"].includes(error.kind),
      mediaType,
    );
    assert.equal(await booted(device), undefined);
    if (![PACK_TYPE, SECTION_TYPE, LITERALS_TYPE].includes(mediaType))
      assert.equal(device.traffic.written, 0, mediaType);
  }
});

test("what cannot be is refused before anything is written", async () => {
  const refused = async (device: MemoryDevice, options: InstallOptions, code: string, from = release) => {
    await assert.rejects(install(from, device, options), (error) => isAshlarError(error) && error.code === code, code);
    assert.deepEqual(device.events, []);
  };
  await refused(memoryDevice(built.length - 512), {}, "disk-too-small");
  await refused(memoryDevice(512), {}, "disk-too-small");
  await refused(memoryDevice(built.length), { slotSize: 5 * MIB }, "disk-too-small");
  await refused(memoryDevice(built.length), { varSize: 2 * MIB }, "disk-too-small");
  await refused(
    memoryDevice(built.length),
    { slotSize: MIB },
    "slot-too-small",
    await systemRelease({ big: noise(3 * MIB, "big") }, environment),
  );
  await refused(memoryDevice(built.length), { espSize: 4096 }, "bad-size");
  await refused(memoryDevice(built.length), { espSize: 10 * MIB }, "fat-size");
  await refused(memoryDevice(2 * built.length, { sectorSize: 4096 }), {}, "fat-size");
  const arm = { ...release.release, architecture: "s390x" };
  await refused(memoryDevice(built.length), {}, "architecture", { ...release, release: arm });
  const rootOnly = {
    ...release.release,
    artifacts: release.release.artifacts.filter(({ role }) => role.startsWith("root")),
  };
  await refused(memoryDevice(built.length), {}, "not-a-system", { ...release, release: rootOnly });
  const other = { ...release.release, rootHash: next.release.rootHash };
  await refused(memoryDevice(built.length), {}, "root-hash-mismatch", { ...release, release: other });
  for (const at of [0, 1080, 65600, MIB - 1, built.length - MIB, built.length - 1]) {
    const device = memoryDevice(built.length);
    await device.writeAt(at, Uint8Array.of(1));
    await refused(device.copy(), {}, "disk-not-blank");
  }
});
