// The boot proof, for any Debian suite: what the issue of a bootable verity disk promises, on a real boot.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { ashlarOk, type ReleaseFile, readRelease } from "../support/ashlar.ts";
import { blobContent, CHECK_COMMAND, debianLayout, SEED_CONTENT, SEED_PATH, type Suite } from "../support/debian.ts";
import { bootDisk, type Guest } from "../support/qemu.ts";
import { findBlock, flipBit } from "../support/tamper.ts";

const MIB = 1024 * 1024;
const BOOT_TIMEOUT = 300_000; // milliseconds
/** Bytes from the start of the disk to slot A: 1 MiB of tables, then an ESP of 256 MiB as built here. */
const ESP_SIZE = 256 * MIB;
const SLOT_SIZE = 512 * MIB;
const VAR_SIZE = 256 * MIB;
const ROOT_START = MIB + ESP_SIZE;
const VERITY_START = ROOT_START + SLOT_SIZE;

export interface BuiltDisk {
  readonly folder: string;
  readonly disk: string;
  /** Bytes of the /var partition. */
  readonly varSize: number;
  readonly release: ReleaseFile;
}

/** Builds a small disk from the test image of `suite`; removed when the test ends. */
export async function buildDisk(t: TestContext, suite: Suite, flags: readonly string[] = []): Promise<BuiltDisk> {
  const layout = await debianLayout(suite);
  const folder = mkdtempSync(join(tmpdir(), "ashlar-boot-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const sizes = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "256M"];
  ashlarOk(["build", `oci:${layout}:latest`, "-o", folder, ...sizes, "--quiet", ...flags]);
  return {
    folder,
    disk: join(folder, "ashlar-test_1.raw"),
    varSize: VAR_SIZE,
    release: readRelease(join(folder, "ashlar-test_1.release.json")),
  };
}

/** Installs what was built on a disk that is larger by 1 GiB, all of which /var gets. */
export function installDisk(built: BuiltDisk): BuiltDisk {
  const disk = join(built.folder, "installed.img");
  const more = 1024 * MIB;
  writeFileSync(disk, "");
  truncateSync(disk, statSync(built.disk).size + more);
  ashlarOk(["install", built.folder, disk, "--slot-size", `${SLOT_SIZE}`, "--quiet"]);
  return { ...built, disk, varSize: VAR_SIZE + more };
}

/** @param drives read by the guest as /dev/disk/by-id/virtio-ashlar1, 2 … */
export async function boot(
  t: TestContext,
  { disk, folder }: BuiltDisk,
  name: string,
  drives: readonly string[] = [],
): Promise<Guest> {
  const extraDrives = drives.map((file) => ({ file, readOnly: true }));
  const guest = await bootDisk({ disk, extraDrives, log: join(folder, `${name}.log`) });
  await guest.waitFor(/login:/, BOOT_TIMEOUT);
  await guest.run("systemctl is-system-running --wait", BOOT_TIMEOUT);
  t.diagnostic(`${name}: ${(await guest.ok("systemd-analyze | head -n 1")).trim()}`);
  return guest;
}

/** The first boot: everything is made. */
export async function proveFirstBoot(t: TestContext, built: BuiltDisk): Promise<string> {
  await using guest = await boot(t, built, "first boot");
  await t.test("the system is up, with no failed unit", async () => {
    assert.equal(await guest.ok("systemctl is-active multi-user.target"), "active");
    assert.equal(await guest.ok("systemctl --failed --no-legend --plain"), "");
  });
  await t.test("/ is EROFS on a verity device with the root hash of the release", async () => {
    assert.match(await guest.ok("findmnt -no FSTYPE,SOURCE,OPTIONS /"), /^erofs\s+\/dev\/mapper\/root\s+ro/);
    const table = await guest.ok("dmsetup table root");
    assert.match(table, / verity /);
    assert.ok(table.includes(built.release.rootHash), table);
    assert.match(await guest.ok("dmsetup status root"), / verity V/);
  });
  await t.test("the layers were put together as they should", async () => {
    const { status, stdout } = await guest.run(CHECK_COMMAND);
    assert.equal(status, 0, stdout);
  });
  await t.test("/var was made and seeded", async () => {
    assert.match(await guest.ok("findmnt -no FSTYPE,OPTIONS /var"), /^ext4\s+rw/);
    const size = Number(await guest.ok("findmnt -bno SIZE /var"));
    assert.ok(size > 0.85 * built.varSize && size <= built.varSize, `${size} of ${built.varSize}`);
    assert.equal(await guest.ok(`cat /${SEED_PATH}`), SEED_CONTENT.trimEnd());
    assert.equal(await guest.ok(`stat -c '%a %u:%g' /${SEED_PATH}`), "640 1234:4321");
    assert.equal(await guest.ok(`getfattr --only-values -n user.ashlar /${SEED_PATH}`), "seed");
  });
  await t.test("/etc is writable, /usr is not", async () => {
    await guest.ok("echo mine > /etc/local-change && echo changed >> /etc/issue && rm /etc/motd");
    assert.notEqual((await guest.run("touch /usr/x")).status, 0);
    await guest.ok("touch /tmp/x /run/x /var/tmp/x");
  });
  await t.test("stock systemd mounts the ESP when it is looked at", async () => {
    const path = await guest.ok("for d in /efi /boot; do ls $d/EFI/Linux >/dev/null 2>&1 && echo $d && break; done");
    assert.match(path, /^\/(efi|boot)$/);
    assert.equal(await guest.ok(`findmnt -rno FSTYPE -t vfat ${path}`), "vfat");
    assert.equal(await guest.ok(`ls ${path}/EFI/Linux`), "ashlar-test_1.efi");
  });
  const machineId = await guest.ok("cat /etc/machine-id");
  await t.test("a machine id was made", () => assert.match(machineId, /^[0-9a-f]{32}$/));
  await guest.ok("echo kept > /var/kept && sync");
  await guest.powerOff();
  return machineId;
}

/** The second boot, with one bit of one file flipped: what was made is found again, and that file alone fails. */
export async function proveSecondBoot(t: TestContext, built: BuiltDisk, machineId: string): Promise<void> {
  const at = await findBlock(join(built.folder, "ashlar-test_1.root.erofs"), blobContent("blob-a"));
  await flipBit(built.disk, ROOT_START + at + 5);
  await using guest = await boot(t, built, "second boot");
  await t.test("/var, /etc and the machine id survived", async () => {
    assert.equal(await guest.ok("cat /var/kept /etc/local-change"), "kept\nmine");
    assert.equal(await guest.ok("tail -n 1 /etc/issue"), "changed");
    assert.notEqual((await guest.run("test -e /etc/motd")).status, 0);
    assert.equal(await guest.ok("cat /etc/machine-id"), machineId);
    assert.equal(await guest.ok("journalctl --list-boots --no-pager | grep -cE '^ *-?[0-9]+ '"), "2");
  });
  await t.test("a flipped bit in a file's block is an I/O error for that file and nothing else", async () => {
    const read = await guest.run("cat /usr/share/ashlar-test/blob-a >/dev/null");
    assert.match(read.stderr, /Input\/output error/);
    const all = await guest.run("find / -xdev -type f -exec cat {} + 2>&1 >/dev/null", 300_000);
    assert.deepEqual(
      all.stdout
        .trim()
        .split("\n")
        .map((line) => line.replace(/^.*cat: /, "")),
      ["/usr/share/ashlar-test/blob-a: Input/output error"],
    );
    assert.match(await guest.ok("dmsetup status root"), / verity C/);
  });
  await guest.powerOff();
  await flipBit(built.disk, ROOT_START + at + 5);
}

/** A third boot with a flipped bit in the hash tree, above a file that nothing else shares a hash block with. */
export async function proveHashTree(t: TestContext, built: BuiltDisk): Promise<void> {
  const at = await findBlock(join(built.folder, "ashlar-test_1.root.erofs"), blobContent("blob-b"));
  const { size } = built.release.artifacts.find(({ role }) => role === "root-verity")!; // every release has one
  const blocks = built.release.artifacts.find(({ role }) => role === "root")!.size / 4096;
  const leafBlocks = Math.ceil(blocks / 128); // sha256: 128 digests of 32 bytes a hash block; leaves come last
  const digestAt = size - leafBlocks * 4096 + (at / 4096) * 32;
  await flipBit(built.disk, VERITY_START + digestAt);
  await using guest = await boot(t, built, "third boot");
  await t.test("a flipped bit in the hash tree is caught", async () => {
    const read = await guest.run("cat /usr/share/ashlar-test/blob-b >/dev/null");
    assert.match(read.stderr, /Input\/output error/);
    assert.match(await guest.ok("dmsetup status root"), / verity C/);
  });
  await guest.powerOff();
  await flipBit(built.disk, VERITY_START + digestAt);
}
