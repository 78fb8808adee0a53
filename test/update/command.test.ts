// `ashlar install` as people use it: on files and block devices, checked by other people's programs, killed, refused.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, type TestContext, test } from "node:test";
import { oracle, requireOracle, requireRoot } from "../support/oracle.ts";
import { publishEnvironment, type SampleRelease } from "../support/releases.ts";
import { assertOneLine, noise, run, runOk, workFolder } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";
import { flipBit } from "../support/tamper.ts";

const MIB = 1024 * 1024;
const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });
const files = join(folder, "release");
const layout = `oci:${join(folder, "repository")}`;
let release: SampleRelease;
let size: number; // bytes of the disk as built
let count = 0;

before(async () => {
  release = await systemRelease({ "usr/bin/tool": noise(900_000, "tool") }, await publishEnvironment());
  mkdirSync(files);
  for (const [name, bytes] of release.files) writeFileSync(join(files, name), bytes);
  size = release.files.get("sample_1.raw")!.length;
  await runOk(["push", files, `${layout}:1`, "--quiet"]);
});

function newDisk(bytes = size): string {
  const path = join(folder, `disk-${count++}.img`);
  writeFileSync(path, "");
  truncateSync(path, bytes);
  return path;
}

const isBuilt = (path: string): boolean => readFileSync(path).equals(Buffer.from(release.files.get("sample_1.raw")!));

interface Report {
  readonly schema: string;
  readonly rootHash: string;
  readonly sectorSize: number;
  readonly fetched: number;
  readonly kept: number;
  readonly partitions: readonly { readonly name: string; readonly start: number; readonly size: number }[];
  readonly checks: readonly { readonly ok: boolean }[];
}

async function install(from: string, disk: string, ...flags: string[]): Promise<Report> {
  const { stdout } = await runOk(["install", from, disk, "--json", ...flags]);
  return JSON.parse(stdout) as Report;
}

test("a release as files and one in a repository give the same disk, holes included", async () => {
  for (const from of [files, join(files, "sample_1.release.json"), `${layout}:1`]) {
    const disk = newDisk();
    const report = await install(from, disk);
    assert.equal(report.schema, "ashlar.install/v1");
    assert.equal(report.rootHash, release.release.rootHash);
    assert.ok(report.checks.length >= 6 && report.checks.every(({ ok }) => ok));
    assert.ok(isBuilt(disk));
    assert.ok(statSync(disk).blocks * 512 < 6 * MIB, "what is zero takes no room");
    assert.equal(report.fetched > 0, from.startsWith("oci:"));
  }
  const disk = newDisk();
  const { stdout } = await runOk(["install", files, disk, "--quiet"]);
  assert.match(stdout, /sample_1_verity\n(?:.*\n)*.*: sample 1, \d+ checks passed\nroot hash [0-9a-f]{64}\n$/);
});

for (const sectorSize of [512, 4096])
  test(`other people's programs accept a disk with sectors of ${sectorSize} bytes`, async (t) => {
    const disk = newDisk(700 * MIB);
    const sizes = ["--esp-size", "300M", "--slot-size", "40M", "--sector-size", `${sectorSize}`];
    const { partitions } = await install(`${layout}:1`, disk, ...sizes);
    assert.equal((await run(["verify", disk, "--quiet"])).status, 0);
    const esp = partitions[0]!;
    assert.equal(esp.size, 300 * MIB);
    const fsck = requireOracle(t, "fsck.vfat");
    const sfdisk = requireOracle(t, "sfdisk");
    const dissect = requireOracle(t, "systemd-dissect", { from: "tools" });
    if (fsck === undefined || sfdisk === undefined || dissect === undefined) return;
    const copy = join(folder, "esp");
    spawnSync("dd", [`if=${disk}`, `of=${copy}`, "bs=1M", "skip=1", "count=300", "conv=sparse"]);
    await fsck.ok(["-n", copy]);
    if (sectorSize === 4096) {
      // Only the kernel tells sfdisk and systemd what sectors a disk has.
      await onLoop(t, disk, ["--sector-size", "4096"], async (device) => {
        assert.match((await sfdisk.ok(["--verify", device])).stdout, /No errors detected/);
      });
      return;
    }
    const verified = await sfdisk.ok(["--verify", disk]);
    assert.match(verified.stdout + verified.stderr, /No errors detected/);
    await dissect.ok(["--validate", disk]);
  });

/** Runs `work` with a loop device for a file, where there is such a thing. */
async function onLoop(
  t: TestContext,
  path: string,
  flags: readonly string[],
  work: (device: string) => Promise<void>,
): Promise<void> {
  if (!requireRoot(t)) return;
  const { status, stdout, stderr } = spawnSync("losetup", ["--find", "--show", ...flags, path], { encoding: "utf8" });
  if (status !== 0) {
    if (process.env["CI"]) throw new Error(stderr);
    t.skip(`no loop device: ${stderr.trim()}`);
    return;
  }
  const device = stdout.trim();
  try {
    await work(device);
  } finally {
    spawnSync("losetup", ["--detach", device]);
  }
}

async function refused(args: readonly string[], pattern: RegExp, status = 6): Promise<void> {
  const result = await run(["install", ...args, "--quiet"]);
  assertOneLine(result.stderr, pattern);
  assert.equal(result.status, status);
}

test("block devices: their sectors are taken, and they are refused while somebody uses them", async (t) => {
  for (const sectorSize of [512, 4096]) {
    const disk = newDisk(500 * MIB);
    await onLoop(t, disk, ["--sector-size", `${sectorSize}`, "--partscan"], async (device) => {
      await refused([files, disk], new RegExp(`in use: attached as ${device}`));
      const other = sectorSize === 512 ? "4096" : "512";
      await refused([files, device, "--sector-size", other], new RegExp(`has sectors of ${sectorSize} bytes`));
      const held = openSync(device, constants.O_RDWR | constants.O_EXCL);
      await refused([files, device], /in use by another program/);
      closeSync(held);
      const report = await install(files, device, "--esp-size", "300M");
      assert.equal(report.sectorSize, sectorSize);
      assert.equal((await run(["verify", device, "--quiet"])).status, 0);
      await refused([files, device], /holds a GPT; --wipe gives up everything/);
      spawnSync("udevadm", ["settle"]);
      spawnSync("partx", ["--update", device]);
      const partition = `${device}p8`;
      if (existsSync(`/sys/class/block/${partition.slice(5)}`)) await whileUsed(t, device, partition);
    });
  }
});

/** With partitions that the kernel knows. */
async function whileUsed(t: TestContext, device: string, partition: string): Promise<void> {
  const [major, minor] = readFileSync(`/sys/class/block/${partition.slice(5)}/dev`, "utf8")
    .trim()
    .split(":");
  const made = !existsSync(partition);
  if (made) spawnSync("mknod", [partition, "b", major!, minor!]);
  try {
    await refused([files, partition], /is a partition, not a disk/);
    const mkfs = oracle("mkfs.ext4");
    if (mkfs === undefined) return;
    await mkfs.ok(["-q", partition]);
    const point = join(folder, "mount point");
    mkdirSync(point, { recursive: true });
    if (spawnSync("mount", [partition, point]).status !== 0) {
      t.diagnostic("nothing can be mounted here");
      return;
    }
    try {
      await refused([files, device, "--wipe"], /in use: mounted at .*mount point/);
    } finally {
      spawnSync("umount", [point]);
    }
  } finally {
    if (made) spawnSync("rm", ["-f", partition]);
  }
}

test("disks that are no disks, too small, or not blank", async (t) => {
  await refused([files, join(folder, "nowhere")], /no such file/, 8);
  await refused([files, folder], /is neither a disk nor a file/, 8);
  await refused([files, "/dev/null"], /is neither a disk nor a file/, 8);
  await refused([files, newDisk(size - MIB)], /\d+ are needed: ESP \d+, two slots/);
  await refused([join(folder, "nowhere.json"), newDisk()], /nowhere\.json/, 7);
  for (const [program, args, name] of [
    ["mkfs.ext4", ["-q", "-F"], "an ext file system"],
    ["mkfs.vfat", [], "a FAT file system"],
    ["mkswap", [], "swap space"],
    ["mkfs.btrfs", ["-q"], "a Btrfs file system"],
    ["mkfs.xfs", ["-q"], "an XFS file system"],
  ] as const) {
    const mkfs = oracle(program);
    if (mkfs === undefined) continue;
    const disk = newDisk(400 * MIB);
    await mkfs.ok([...args, disk]);
    const before = statSync(disk).mtimeMs;
    await refused([files, disk], new RegExp(`holds ${name}`));
    assert.equal(statSync(disk).mtimeMs, before);
    await install(files, disk, "--wipe");
  }
  const locked = newDisk();
  const script = 'exec 9<>"$1" && flock 9 && echo held && exec sleep 60';
  const holder = spawn("sh", ["-c", script, "sh", locked], { stdio: ["ignore", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  await refused([files, locked], /in use: locked by another program/);
  holder.kill();
  const sfdisk = requireOracle(t, "sfdisk");
  if (sfdisk === undefined) return;
  const disk = newDisk(100 * MIB);
  await sfdisk.ok([disk], { input: "label: dos\n2048,20480,83\n" });
  await refused([files, disk], /holds an MBR partition table/);
});

test("killed at any moment: nothing boots before all is there, and the next run goes on", async (t) => {
  const points = join(folder, "points");
  const dieAt = join(import.meta.dirname, "../support/die-at.ts");
  const options = (env: Record<string, string>) => ({ env: { NODE_OPTIONS: `--import=${dieAt}`, ...env } });
  await runOk(["install", `${layout}:1`, newDisk(), "--quiet"], options({ ASHLAR_TEST_POINTS: points }));
  const total = Number(readFileSync(points, "utf8"));
  assert.ok(total > 10, `${total} points`);
  const step = isLong ? 1 : Math.ceil(total / 5);
  let kept = 0;
  for (let point = 1; point < total; point += step) {
    const disk = newDisk();
    const died = await run(["install", `${layout}:1`, disk, "--quiet"], options({ ASHLAR_TEST_DIE_AT: `${point}` }));
    assert.equal(died.signal ?? died.status, "SIGKILL");
    // The backup table comes when all the rest is there, so the disk is a whole one then, which is not taken again unasked.
    const isWhole = readFileSync(disk).subarray(-512, -504).toString() === "EFI PART";
    assert.equal((await run(["verify", disk, "--quiet"])).stdout.includes("hash tree: "), isWhole);
    if (isWhole) await refused([`${layout}:1`, disk], /holds a GPT/);
    const report = await install(`${layout}:1`, disk, ...(isWhole ? ["--wipe"] : []));
    kept += report.kept;
    assert.ok(isBuilt(disk), `point ${point}`);
  }
  assert.ok(kept > 900_000, "what was there is used");
  t.diagnostic(`${total} points`);
});

test("a release that was tampered with leaves a disk that does not boot", async () => {
  const disk = newDisk();
  const copy = join(folder, "tampered");
  mkdirSync(copy);
  for (const [name, bytes] of release.files) writeFileSync(join(copy, name), bytes);
  await flipBit(join(copy, "sample_1.root.erofs"), 500_000);
  await refused([copy, disk], /sample_1\.root\.erofs: the block at byte 499712 does not match/, 5);
  assert.ok(
    readFileSync(disk)
      .subarray(0, MIB)
      .every((byte) => byte === 0),
  );
});

test("only a release that is signed, where that is asked for", async () => {
  const [ours, theirs] = ["ours", "theirs"].map((name) => join(folder, name)) as [string, string];
  for (const key of [ours, theirs]) await runOk(["keygen", "-o", key, "--no-password"]);
  const disk = newDisk();
  await refused([`${layout}:1`, disk, "--verify-key", `${ours}.pub`], /./);
  await runOk(["sign", `${layout}:1`, "--key", `${ours}.key`, "--identity", "registry.example/sample"]);
  await refused([`${layout}:1`, disk, "--verify-key", `${theirs}.pub`], /./);
  await refused([files, disk, "--verify-key", `${ours}.pub`], /is not signed: only what is in a repository can be/);
  await refused([`${layout}:1`, disk, "--verify-key", `${ours}.pub`], /it is for registry\.example\/sample/);
  assert.equal(statSync(disk).blocks, 0);
  await install(`${layout}:1`, disk, "--verify-key", `${ours}.pub`, "--identity", "registry.example/sample");
  assert.ok(isBuilt(disk));
});
