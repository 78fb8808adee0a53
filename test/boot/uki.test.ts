// A UKI of ours on an ESP of ours, booted: OVMF and systemd-boot read the FAT, the stub finds its sections, the guest's kernel mounts and changes the FAT.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { encodeUtf8, fromUtf8 } from "../../core/src/bytes/index.ts";
import { emitFat, openFat, planFat } from "../../core/src/formats/fat/index.ts";
import { encodeGpt, partitionType } from "../../core/src/formats/gpt/index.ts";
import { assembleUki } from "../../core/src/formats/pe/index.ts";
import { bytesSource, readAll, type Source, sliceSource } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile, walkTree } from "../../core/src/tree/index.ts";
import { findEmulator } from "../support/emulator.ts";
import { requireOracle } from "../support/oracle.ts";
import { bootDisk } from "../support/qemu.ts";
import { findRoot } from "../support/roots.ts";

const MEBIBYTE = 2 ** 20;
const ESP_START = MEBIBYTE;
const ESP_SIZE = 300 * MEBIBYTE;
const BOOT_TIMEOUT = 300_000; // milliseconds

// 252 and 257, and both sector sizes.
const CASES = [
  { suite: "trixie", sectorSize: 512 },
  { suite: "bookworm", sectorSize: 4096 },
] as const;

const PROGRAMS = ["cat", "dash", "find", "kmod", "mount", "rm", "sha256sum", "tr", "umount"];
const LIBRARIES = [
  ...["libblkid.so.1", "libc.so.6", "libcap.so.2", "libcrypto.so.3", "liblzma.so.5", "libm.so.6", "libmount.so.1"],
  ...["libpcre2-8.so.0", "libselinux.so.1", "libz.so.1", "libzstd.so.1"],
];
const MODULES = [
  ...["virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"],
  ...["nls_cp437", "nls_ascii", "nls_utf8", "fat", "vfat", "efivarfs"],
];

const INIT = `#!/bin/dash
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec >/dev/ttyS0 2>&1
for module in $(cat /modules/order); do insmod /modules/$module || echo "BAD $module"; done
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
echo "CMDLINE=$(cat /proc/cmdline)"
echo "STUB=$(cat /sys/firmware/efi/efivars/StubInfo-* | tr -cd 'a-z0-9. ~-')"
echo "LOADER=$(cat /sys/firmware/efi/efivars/LoaderInfo-* | tr -cd 'a-z0-9. ~-')"
off() { echo "$1"; echo o >/proc/sysrq-trigger; while :; do :; done; }
mount -t vfat -o utf8,rw /dev/vda1 /esp && cd /esp || off "BAD mount"
find . -type f -exec sha256sum {} + | while read -r line; do echo "FILE=$line"; done
cat EFI/BOOT/BOOTX64.EFI >"EFI/Linux/a new one.efi"
rm loader/gone
cd / && umount /esp && off DONE
off "BAD end"
`;

/** One file system entry of a newc archive (kernel, Documentation/driver-api/early-userspace/buffer-format.rst). */
function newc(path: string, mode: number, content: Uint8Array = new Uint8Array(0)): Uint8Array {
  const field = (value: number): string => value.toString(16).padStart(8, "0");
  const name = `${path}\0`;
  const fields = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, Buffer.byteLength(name), 0];
  const head = Buffer.from(`070701${fields.map(field).join("")}${name}`);
  const pad = (size: number): Buffer => Buffer.alloc((4 - (size % 4)) % 4);
  return Buffer.concat([head, pad(head.length), content, pad(content.length)]);
}

function extract(tar: string, folder: string, patterns: readonly string[]): void {
  const { status, stderr } = spawnSync("tar", ["-xf", tar, "-C", folder, "--wildcards", ...patterns], {
    encoding: "utf8",
  });
  // A pattern that matches nothing is an error of tar's; what is missing is told when it is read.
  if (status === null) throw new Error(`tar ${tar}: ${stderr}`);
}

/** Debian's own programs and the modules that the kernel needs for its disk and for vfat. */
async function initrd(programs: string, modules: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const folders = ["dev", "proc", "sys", "esp", "bin", "modules", "lib64", "usr", "usr/lib"];
  for (const path of folders) parts.push(newc(path, 0o040755));
  const put = async (path: string, from: string): Promise<void> =>
    void parts.push(newc(path, 0o100755, await readFile(from)));
  for (const name of PROGRAMS) await put(`bin/${name === "kmod" ? "insmod" : name}`, join(programs, "usr/bin", name));
  for (const name of LIBRARIES) await put(`usr/lib/${name}`, join(programs, "usr/lib/x86_64-linux-gnu", name));
  await put("lib64/ld-linux-x86-64.so.2", join(programs, "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
  const found = (await readdir(modules, { recursive: true })).filter((path) => /\.ko(?:\.xz)?$/.test(path));
  const order: string[] = [];
  for (const name of MODULES) {
    const path = found.find((candidate) => new RegExp(`/${name}\\.ko(?:\\.xz)?$`).test(candidate));
    if (path === undefined) continue; // built in
    order.push(path.split("/").at(-1) ?? "");
    await put(`modules/${order.at(-1)}`, join(modules, path));
  }
  parts.push(newc("modules/order", 0o100644, encodeUtf8(`${order.join("\n")}\n`)));
  parts.push(newc("init", 0o100755, encodeUtf8(INIT.replace("exec >", "export LD_LIBRARY_PATH=/usr/lib\nexec >"))));
  parts.push(newc("TRAILER!!!", 0));
  return Buffer.concat(parts);
}

async function digests(root: Directory): Promise<string[]> {
  const lines: string[] = [];
  for (const { path, node } of walkTree(root))
    if (node.type === "file") {
      const bytes = await readAll(node.content, 2 ** 27, path);
      lines.push(`${createHash("sha256").update(bytes).digest("hex")}  ./${path}`);
    }
  return lines.sort();
}

async function writeDisk(tree: Directory, path: string, sectorSize: 512 | 4096): Promise<void> {
  const gpt = encodeGpt({
    sectorSize,
    diskSize: ESP_START + ESP_SIZE + MEBIBYTE,
    diskGuid: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    partitions: [
      {
        typeGuid: partitionType("esp", "x86-64"),
        partitionGuid: "11111111-2222-3333-4444-555555555551",
        start: ESP_START,
        size: ESP_SIZE,
        attributes: 0n,
        name: "esp",
      },
    ],
  });
  const plan = planFat({ tree, size: ESP_SIZE, sectorSize, volumeId: 1, label: "ESP" });
  await using file = await open(path, "w");
  const writeAt = async (offset: number, bytes: Uint8Array): Promise<void> =>
    void (await file.write(bytes, 0, bytes.length, offset));
  await writeAt(0, gpt.primary);
  await emitFat(plan, { writeAt }, { at: ESP_START });
  await writeAt(gpt.backup.offset, gpt.backup.bytes);
}

for (const { suite, sectorSize } of CASES) {
  test(`systemd-boot, stub and kernel of ${suite}, sectors of ${sectorSize}`, async (t) => {
    const tar = findRoot(suite);
    const trixie = findRoot("trixie");
    if (tar === undefined || trixie === undefined || findEmulator() === undefined) {
      const why = "no roots or no QEMU; run scripts/fetch-roots";
      if (process.env["CI"]) throw new Error(why);
      return t.skip(why);
    }
    const folder = await mkdtemp(join(tmpdir(), "ashlar-uki-"));
    try {
      const [programs, system] = [join(folder, "programs"), join(folder, "system")];
      for (const path of [programs, system]) await mkdir(path);
      extract(trixie, programs, [
        "./usr/bin/*",
        "./usr/lib/x86_64-linux-gnu/lib*.so*",
        "./usr/lib/x86_64-linux-gnu/ld-*",
      ]);
      extract(tar, system, ["./boot/vmlinuz-*", "./usr/lib/systemd/boot/efi/*", "./usr/lib/os-release"]);
      extract(tar, system, [
        "./usr/lib/modules/*/kernel/drivers/virtio/*",
        "./usr/lib/modules/*/kernel/drivers/block/*",
      ]);
      extract(tar, system, [
        "./usr/lib/modules/*/kernel/fs/fat/*",
        "./usr/lib/modules/*/kernel/fs/nls/*",
        "./usr/lib/modules/*/kernel/fs/efivarfs/*",
      ]);
      const kernel = (await readdir(join(system, "boot"))).find((name) => name.startsWith("vmlinuz-"));
      assert.ok(kernel);
      const efi = join(system, "usr/lib/systemd/boot/efi");
      const loader = await readFile(join(efi, "systemd-bootx64.efi"));
      const uki = await assembleUki({
        architecture: "x86-64",
        stub: await readFile(join(efi, "linuxx64.efi.stub")),
        sbat: ["sbat,1,SBAT Version,sbat,1,https://example.org\nashlar.test,1,Ashlar,uki,1,https://example.org\n"],
        sections: [
          { name: ".linux", content: await readFile(join(system, "boot", kernel)) },
          { name: ".initrd", content: await initrd(programs, join(system, "usr/lib/modules")) },
          { name: ".osrel", content: await readFile(join(system, "usr/lib/os-release")) },
          { name: ".cmdline", content: encodeUtf8("console=ttyS0 panic=-1 quiet ashlar.test=42") },
          { name: ".uname", content: encodeUtf8(kernel.slice("vmlinuz-".length)) },
        ],
      });
      const root = directory(attributes(0o755));
      const put = (path: string, content: Source): void =>
        putNode(root, fromUtf8(path), regularFile(attributes(0o644), content));
      put("EFI/BOOT/BOOTX64.EFI", bytesSource(loader));
      put("EFI/Linux/ashlar test_1+3.efi", uki.source);
      put("loader/loader.conf", bytesSource(encodeUtf8("editor no\ntimeout 0\n")));
      put("loader/gone", bytesSource(encodeUtf8("x\n")));
      put("a long name, grüße.txt", bytesSource(encodeUtf8("hello\n")));
      const disk = join(folder, "disk.raw");
      await writeDisk(root, disk, sectorSize);

      await using guest = await bootDisk({ disk: { file: disk, sectorSize }, log: join(folder, "serial.log") });
      await guest.waitFor(/^(?:DONE|BAD .*)$/m, BOOT_TIMEOUT);
      await guest.ended;
      const output = guest.output();
      assert.match(output, /^CMDLINE=.*ashlar\.test=42/m);
      assert.match(output, new RegExp(`^STUB=.*systemd-stub ${uki.stub.version}`, "m"));
      assert.match(output, new RegExp(`^LOADER=.*systemd-boot ${uki.stub.major}`, "m"));
      assert.doesNotMatch(output, /^BAD /m);
      const seen = [...output.matchAll(/^FILE=(.*)$/gm)].map(([, line]) => fromUtf8(line ?? "")).sort();
      // systemd-boot counted the boot: the firmware's driver renamed a file on our volume.
      const expected = (await digests(root)).map((line) => line.replace("_1+3.efi", "_1+2-1.efi"));
      // systemd-boot itself may write a random seed.
      assert.deepEqual(
        seen.filter((line) => !line.endsWith("random-seed")),
        expected.sort(),
      );

      const esp = sliceSource(bytesSource(await readFile(disk)), ESP_START, ESP_SIZE);
      const names = (await digests((await openFat(esp)).root)).map((line) => line.slice(68));
      assert.ok(names.includes("EFI/Linux/a new one.efi") && !names.includes("loader/gone"));
      const fsck = requireOracle(t, "fsck.vfat");
      if (fsck === undefined) return;
      const volume = join(folder, "esp");
      await using file = await open(volume, "w");
      await file.write(await esp.read(0, ESP_SIZE));
      await fsck.ok(["-n", volume]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}
