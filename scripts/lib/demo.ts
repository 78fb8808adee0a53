// The demo: OCI image → disk → verified → booted, with what the machine says about itself.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { debianLayout } from "../../test/support/debian.ts";
import { findEmulator } from "../../test/support/emulator.ts";
import { bootDisk } from "../../test/support/qemu.ts";
import { REPOSITORY } from "../../test/support/roots.ts";

const OUTPUT = join(REPOSITORY, "out/demo");
const DISK = join(OUTPUT, "ashlar-test_1.raw");
const RELEASE = join(OUTPUT, "ashlar-test_1.release.json");
const BOOT_TIMEOUT = 300_000; // milliseconds

function step(text: string): void {
  process.stdout.write(`\n\x1b[1m${text}\x1b[0m\n`);
}

/** Shows a command as a person would type it, and runs it. */
function ashlar(...args: string[]): void {
  process.stdout.write(`$ ./ashlar ${args.join(" ")}\n`);
  const { status } = spawnSync(join(REPOSITORY, "ashlar"), args, { cwd: REPOSITORY, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

async function build(): Promise<void> {
  step("1. A real OCI image: Debian trixie in four layers");
  const layout = await debianLayout("trixie");
  process.stdout.write(`${layout}\n`);
  step("2. Build a disk from it");
  rmSync(OUTPUT, { recursive: true, force: true });
  ashlar("build", `oci:${layout}`, "-o", "out/demo");
  step("3. Check every block of it against the root hash in its unified kernel image");
  ashlar("verify", "out/demo/ashlar-test_1.release.json");
}

async function bootAndLook(): Promise<void> {
  step("4. Boot it: UEFI firmware, systemd-boot, the UKI, a verified root (emulated, so this takes a minute)");
  const started = performance.now();
  await using guest = await bootDisk({ disk: DISK, snapshot: true, log: join(OUTPUT, "boot.log") });
  await guest.waitFor(/login:/, BOOT_TIMEOUT);
  process.stdout.write(`login prompt after ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  await guest.run("systemctl is-system-running --wait", BOOT_TIMEOUT);
  for (const command of [
    "for place in / /var /etc; do findmnt -no TARGET,SOURCE,FSTYPE $place; done",
    "dmsetup table root",
    "dmsetup status root",
    "cat /proc/cmdline",
    "grep ^IMAGE_ /etc/os-release",
    "systemctl is-system-running",
  ])
    process.stdout.write(`# ${command}\n${(await guest.run(command)).stdout}`);
  const { rootHash } = JSON.parse(readFileSync(RELEASE, "utf8")) as { rootHash: string };
  if (!(await guest.ok("dmsetup table root")).includes(rootHash))
    throw new Error("the root runs with another root hash");
  process.stdout.write(`\nThe running root is the one that release.json names: ${rootHash}\n`);
  await guest.powerOff();
}

/** The same machine with the terminal as its console; changes are kept. */
function console(): never {
  const emulator = findEmulator();
  if (emulator === undefined || !existsSync(DISK)) {
    process.stderr.write("demo: run ./scripts/demo first\n");
    process.exit(1);
  }
  const variables = join(OUTPUT, "efi-variables.fd");
  spawnSync("cp", ["-n", emulator.variables, variables]);
  process.stdout.write("Log in as root, without a password. Ctrl-A X ends the emulator.\n");
  const [program = "", ...before] = emulator.command;
  const { status } = spawnSync(
    program,
    [
      ...before,
      ...emulator.machine,
      ...["-m", "1536", "-nographic", "-nic", "none"],
      ...["-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${emulator.firmware}`],
      ...["-drive", `if=pflash,unit=1,format=raw,file=${variables}`],
      ...["-drive", `if=virtio,format=raw,file=${DISK}`],
    ],
    { stdio: "inherit" },
  );
  process.exit(status ?? 1);
}

if (process.argv.includes("--console")) console();
await build();
await bootAndLook();
step("Look at it yourself");
process.stdout.write(
  [
    "  ./scripts/demo --console                             boot it with this terminal as its console",
    "  ./ashlar ls -l out/demo/ashlar-test_1.raw /etc       look inside without booting",
    "  ./ashlar cat out/demo/ashlar-test_1.raw /etc/os-release",
    "  cat out/demo/ashlar-test_1.release.json              what it is made of",
    "",
  ].join("\n"),
);
