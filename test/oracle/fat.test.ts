// Our FAT32 volumes against dosfstools, mtools and the kernel; theirs against our reader.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { encodeUtf8, fromUtf8 } from "../../core/src/bytes/index.ts";
import { emitFat, type FatPlan, openFat, planFat } from "../../core/src/formats/fat/index.ts";
import { bytesSource, readAll, type Source } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile, walkTree } from "../../core/src/tree/index.ts";
import { requireOracle } from "../support/oracle.ts";

const MEBIBYTE = 2 ** 20;

const LAYOUTS = [
  { size: 40 * MEBIBYTE, sectorSize: 512 },
  { size: 300 * MEBIBYTE, sectorSize: 512 },
  { size: 1024 * MEBIBYTE, sectorSize: 512 },
  { size: 1024 * MEBIBYTE, sectorSize: 4096 },
] as const;

function pattern(size: number, seed: number): Uint8Array {
  return new Uint8Array(size).map((_, i) => (i * 7 + (i >> 8) + seed) & 0xff);
}

function sampleTree(): Directory {
  const root = directory(attributes(0o755));
  const put = (path: string, bytes: Uint8Array): void =>
    putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(bytes)));
  put("EFI/BOOT/BOOTX64.EFI", pattern(120_000, 1));
  put("EFI/systemd/systemd-bootx64.efi", pattern(120_000, 1));
  put("EFI/Linux/debian_13.2-1+3.efi", pattern(9_000_001, 2));
  put("EFI/Linux/debian_13.1-1.efi", pattern(4096, 3));
  put("loader/loader.conf", encodeUtf8("editor no\n"));
  put("loader/entries.srel", encodeUtf8("type2\n"));
  put("loader/empty", new Uint8Array(0));
  put("grüße, 世界 🎉 and a long tail.txt", encodeUtf8("hello\n"));
  put("Mixed Case.Name", encodeUtf8("x"));
  put("zeros", new Uint8Array(300_000));
  for (let i = 0; i < 700; i++) put(`many/a rather long file name, number ${i}.txt`, encodeUtf8(`${i}\n`));
  return root;
}

async function sha256(source: Source): Promise<string> {
  return createHash("sha256")
    .update(await readAll(source, 2 ** 28, "file"))
    .digest("hex");
}

async function list(root: Directory): Promise<string[]> {
  const lines: string[] = [];
  for (const { path, node } of walkTree(root))
    if (node.type === "file") lines.push(`${path} ${await sha256(node.content)}`);
  return lines.sort();
}

async function writeImage(plan: FatPlan, path: string): Promise<void> {
  await using file = await open(path, "w+");
  await emitFat(plan, {
    async writeAt(offset, bytes) {
      await file.write(bytes, 0, bytes.length, offset);
    },
  });
  await file.truncate(plan.size);
}

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ashlar-fat-"));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function listFolder(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    lines.push(`${fromUtf8(path.slice(folder.length + 1))} ${await sha256(bytesSource(await readFile(path)))}`);
  }
  return lines.sort();
}

const tree = sampleTree();

for (const { size, sectorSize } of LAYOUTS) {
  const name = `${size / MEBIBYTE} MiB, sectors of ${sectorSize}`;
  const plan = planFat({
    tree,
    size,
    sectorSize,
    volumeId: 0xa1b2c3d4,
    label: "ESP",
    time: 1_700_000_000n * 10n ** 9n,
  });

  test(`fsck.vfat finds nothing: ${name}`, async (t) => {
    const fsck = requireOracle(t, "fsck.vfat");
    if (fsck === undefined) return;
    await withFolder(async (folder) => {
      await writeImage(plan, join(folder, "esp"));
      const { stdout } = await fsck.ok(["-n", "-v", join(folder, "esp")]);
      const warning =
        /^(?!.*(?:Checking we can|bytes per|First FAT|FATs|Root dir|Data area|data clusters|sectors|heads|hidden)).*(?:warn|differ|wrong|bad|error|fix|auto).*$/im;
      assert.equal(warning.exec(stdout)?.[0], undefined);
      assert.match(stdout, new RegExp(`${plan.clusterCount - plan.freeClusters}/${plan.clusterCount} clusters`));
    });
  });

  test(`mtools reads every file: ${name}`, async (t) => {
    const mcopy = requireOracle(t, "mcopy");
    const mdir = requireOracle(t, "mdir");
    if (mcopy === undefined || mdir === undefined) return;
    await withFolder(async (folder) => {
      await writeImage(plan, join(folder, "esp"));
      const env = { MTOOLS_SKIP_CHECK: "1" };
      const { stdout } = await mdir.ok(["-i", join(folder, "esp"), "::/EFI/Linux"], { env });
      assert.match(stdout, /Volume in drive : is ESP/);
      assert.match(stdout, /Volume Serial Number is A1B2-C3D4/);
      assert.match(stdout, /2023-11-14 {2}22:13 {2}debian_13\.2-1\+3\.efi/);
      await mkdir(join(folder, "out"));
      await mcopy.ok(
        ["-s", "-n", "-i", join(folder, "esp"), "::/EFI", "::/loader", "::/many", "::/zeros", join(folder, "out")],
        { env },
      );
      const expected = (await list(tree)).filter((line) => /^(?:EFI|loader|many|zeros)/.test(line));
      assert.deepEqual(await listFolder(join(folder, "out")), expected);
    });
  });

  test(`the kernel reads every file, and can write: ${name}`, async (t) => {
    await withFolder(async (folder) => {
      await writeImage(plan, join(folder, "esp"));
      const done = await mounted(t, join(folder, "esp"), sectorSize, folder, async (point) => {
        assert.deepEqual(await listFolder(point), await list(tree));
        const mtime = (await stat(join(point, "loader/loader.conf"))).mtimeMs;
        assert.equal(mtime, 1_700_000_000_000);
        const file = await open(join(point, "EFI/Linux/new one.efi"), "w");
        await file.write(pattern(50_000, 9));
        await file.close();
        await rm(join(point, "EFI/Linux/debian_13.1-1.efi"));
      });
      if (!done) return;
      const fsck = requireOracle(t, "fsck.vfat");
      if (fsck !== undefined) await fsck.ok(["-n", join(folder, "esp")]);
      const volume = await openFat(bytesSource(await readFile(join(folder, "esp"))));
      const names = (await list(volume.root)).map((line) => line.split(" ").slice(0, -1).join(" "));
      assert.ok(names.includes("EFI/Linux/new one.efi") && !names.includes("EFI/Linux/debian_13.1-1.efi"));
    });
  });
}

/** False where mounting is not possible: a visible skip, a failure in CI, but for a kernel without vfat (uki-boot.test.ts has one). */
async function mounted(
  t: TestContext,
  image: string,
  sectorSize: number,
  folder: string,
  run: (point: string) => Promise<void>,
): Promise<boolean> {
  const losetup = requireOracle(t, "losetup", { from: "host" });
  const mount = requireOracle(t, "mount", { from: "host" });
  const umount = requireOracle(t, "umount", { from: "host" });
  if (losetup === undefined || mount === undefined || umount === undefined) return false;
  const point = join(folder, "mnt");
  await mkdir(point);
  const skip = (why: string): false => {
    if (process.env["CI"] && !why.includes("unknown filesystem type")) throw new Error(why);
    t.skip(why.replaceAll(/\s+/g, " "));
    return false;
  };
  const loop = await losetup.run(["--find", "--show", "--sector-size", String(sectorSize), image]);
  if (loop.status !== 0) return skip(`no loop device: ${loop.stderr.trim()}`);
  const device = loop.stdout.trim();
  try {
    const done = await mount.run(["-t", "vfat", "-o", "utf8,tz=UTC", device, point]);
    if (done.status !== 0) return skip(`no vfat mount: ${done.stderr.trim()}`);
    try {
      await run(point);
    } finally {
      await umount.ok([point]);
    }
    return true;
  } finally {
    await losetup.ok(["--detach", device]);
  }
}

for (const sectorSize of [512, 4096]) {
  test(`our reader on what mkfs.fat and mcopy make, sectors of ${sectorSize}`, async (t) => {
    const mkfs = requireOracle(t, "mkfs.fat");
    const mcopy = requireOracle(t, "mcopy");
    if (mkfs === undefined || mcopy === undefined) return;
    await withFolder(async (folder) => {
      const image = join(folder, "esp");
      const file = await open(image, "w");
      await file.truncate(300 * MEBIBYTE);
      await file.close();
      await mkfs.ok(["-F", "32", "-S", String(sectorSize), "-n", "THEIRS", "-i", "01020304", image]);
      const source = join(folder, "EFI");
      await mkdir(join(source, "lower"), { recursive: true });
      for (const name of ["BOOTX64.EFI", "lower.txt", "Mixed.Txt", "a long name.efi", "grüße.txt"]) {
        const made = await open(join(source, "lower", name), "w");
        await made.write(pattern(100_000, name.length));
        await made.close();
      }
      await mcopy.ok(["-s", "-i", image, source, "::/"], { env: { MTOOLS_SKIP_CHECK: "1" } });
      const volume = await openFat(bytesSource(await readFile(image)));
      assert.equal(volume.label, "THEIRS");
      assert.equal(volume.volumeId, 0x01020304);
      assert.deepEqual(
        await list(volume.root),
        (await listFolder(source)).map((line) => `EFI/${line}`),
      );
    });
  });
}

test("FAT16 is refused as unsupported", async (t) => {
  const mkfs = requireOracle(t, "mkfs.fat");
  if (mkfs === undefined) return;
  await withFolder(async (folder) => {
    const image = join(folder, "esp");
    const file = await open(image, "w");
    await file.truncate(16 * MEBIBYTE);
    await file.close();
    await mkfs.ok(["-F", "16", image]);
    await assert.rejects(openFat(bytesSource(await readFile(image))), { code: "fat-type" });
  });
});
