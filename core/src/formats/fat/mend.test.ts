import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8 } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../tree/index.ts";
import { fatSource, type MendPolicy, mendFat, openFat, planFat } from "./index.ts";

const MIB = 1024 * 1024;
const FILES = { "EFI/Linux/one.efi": 40_000, "EFI/Linux/two.efi": 9000, "loader/loader.conf": 12 };
const plan = planFat({
  tree: Object.entries(FILES).reduce(
    (tree, [path, size]) => {
      putNode(tree, fromUtf8(path), regularFile(attributes(0o644), bytesSource(new Uint8Array(size).fill(size % 251))));
      return tree;
    },
    directory(attributes(0o755)),
  ),
  size: 36 * MIB,
  sectorSize: 512,
  volumeId: 1,
});
const original = await fatSource(plan).read(0, plan.size);

const policy: MendPolicy = {
  dropsAlias: (path) => path.includes("two"),
  dropsBroken: (path) => path.startsWith("EFI/Linux/"),
};

function mediumOf(bytes: Uint8Array) {
  const writes: number[] = [];
  return {
    writes,
    ...bytesSource(bytes),
    read: async (offset: number, length: number) => bytes.slice(offset, offset + length),
    async writeAt(offset: number, part: Uint8Array) {
      writes.push(offset);
      bytes.set(part, offset);
    },
    flush: async () => {},
  };
}

const clusterOf = (path: string) =>
  (plan.files.find((file) => file.path === path)!.offset - plan.dataStart) / plan.clusterSize + 2;
const [one, two] = [clusterOf("EFI/Linux/one.efi"), clusterOf("EFI/Linux/two.efi")];

/** Sets an entry of one or both copies of the table. */
function setFat(bytes: Uint8Array, cluster: number, value: number, copies = [0, 1]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const copy of copies) view.setUint32(plan.fatStart + copy * plan.fatSize + cluster * 4, value, true);
}

/** The short entry that says this cluster. */
function entryAt(bytes: Uint8Array, cluster: number): number {
  for (let at = plan.dataStart; at < plan.dataStart + 8 * plan.clusterSize; at += 32)
    if (bytes[at + 11] === 0x20 && new DataView(bytes.buffer).getUint16(at + 26, true) === cluster) return at;
  throw new Error("no such entry");
}

async function mended(change: (bytes: Uint8Array) => void) {
  const bytes = Uint8Array.from(original);
  change(bytes);
  const medium = mediumOf(bytes);
  const report = await mendFat(medium, policy);
  if (report.damaged.length === 0) {
    await openFat(bytesSource(bytes)); // throws for what is crossed or broken
    assert.deepEqual(await mendFat(mediumOf(bytes), policy), { removed: [], freed: 0, damaged: [] });
  }
  return { report, bytes, writes: medium.writes };
}

test("a whole volume is not touched", async () => {
  const { report, writes } = await mended(() => {});
  assert.deepEqual([report, writes], [{ removed: [], freed: 0, damaged: [] }, []]);
});

test("two names of one file: one goes, and the content stays", async () => {
  const { report, bytes } = await mended((volume) => {
    const at = entryAt(volume, two);
    const view = new DataView(volume.buffer);
    view.setUint16(at + 26, one, true);
    view.setUint32(at + 28, 40_000, true);
  });
  assert.deepEqual(report.removed, ["EFI/Linux/two.efi"]);
  assert.equal(report.freed, Math.ceil(9000 / plan.clusterSize), "those of the file that nothing names now");
  const { offset } = plan.files.find(({ path }) => path === "EFI/Linux/one.efi")!;
  assert.deepEqual(bytes.subarray(offset, offset + 40_000), original.subarray(offset, offset + 40_000));
});

test("a name in two sectors goes from its end: a power cut leaves no short name alone", async () => {
  const bytes = Uint8Array.from(original);
  const view = new DataView(bytes.buffer);
  const last = entryAt(bytes, two);
  const directory = last - ((last - plan.dataStart) % plan.clusterSize);
  const [boundary, added] = [directory + plan.clusterSize - 32, two + 200];
  const behind = plan.dataStart + (added - 2) * plan.clusterSize;
  bytes.copyWithin(boundary, last - 32, last);
  bytes.copyWithin(behind, last, last + 32);
  for (let at = last - 32; at < boundary; at += 32) bytes[at] = 0xe5;
  setFat(bytes, (directory - plan.dataStart) / plan.clusterSize + 2, added);
  setFat(bytes, added, 0x0fffffff);
  view.setUint16(behind + 26, one, true);
  view.setUint32(behind + 28, 40_000, true);

  const isThere = (volume: Uint8Array, at: number) => volume[at] !== 0xe5;
  let stable = Uint8Array.from(bytes);
  let pending: { offset: number; part: Uint8Array }[] = [];
  const medium = mediumOf(bytes);
  const report = await mendFat(
    {
      ...medium,
      async writeAt(offset, part) {
        pending.push({ offset, part: Uint8Array.from(part) });
        for (const write of pending) {
          const alone = Uint8Array.from(stable);
          alone.set(write.part, write.offset);
          assert.ok(isThere(alone, boundary) || !isThere(alone, behind), "only the short name is left");
        }
        await medium.writeAt(offset, part);
      },
      async flush() {
        stable = Uint8Array.from(bytes);
        pending = [];
      },
    },
    policy,
  );
  assert.deepEqual(report.removed, ["EFI/Linux/two.efi"]);
  assert.deepEqual([isThere(bytes, boundary), isThere(bytes, behind)], [false, false]);
});

test("a chain that ends too early", async () => {
  const { report } = await mended((volume) => setFat(volume, two + 1, 0));
  assert.deepEqual(report.removed, ["EFI/Linux/two.efi"]);
  const start = clusterOf("loader/loader.conf");
  const other = await mended((volume) => setFat(volume, start, 0));
  assert.deepEqual(other.report.removed, []);
  assert.equal(other.report.damaged.length, 1, "what is not ours is told and left");
  assert.equal(other.report.freed, 0);
});

test("chains that nothing names, and copies that differ", async () => {
  const free = plan.dataStart > 0 ? two + 200 : 0;
  const lost = await mended((volume) => {
    setFat(volume, free, free + 1);
    setFat(volume, free + 1, 0x0fffffff);
  });
  assert.equal(lost.report.freed, 2);
  const half = await mended((volume) => setFat(volume, free, 0x0fffffff, [1]));
  assert.ok(half.writes.length > 0 && half.report.freed === 0);
  assert.deepEqual(half.bytes.subarray(plan.fatStart), original.subarray(plan.fatStart));
});

test("a directory that was growing keeps what it had", async () => {
  const { report, bytes } = await mended((volume) => setFat(volume, 3, two + 200));
  assert.deepEqual([report.removed, report.freed], [[], 0]);
  assert.deepEqual(bytes, original);
});

test("a directory that is broken: nothing is changed", async () => {
  const bytes = Uint8Array.from(original);
  setFat(bytes, 3, 1);
  const medium = mediumOf(bytes);
  await assert.rejects(mendFat(medium, policy), { code: "fat-chain" });
  assert.deepEqual(medium.writes, []);
});
