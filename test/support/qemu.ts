// Boots disks (or a kernel directly) in QEMU and talks to the guest over its serial line.
// The facts behind the flags: TCG unless ASHLAR_KVM=1, QEMU >= 10 with two vCPUs, Debian 12's 7.2 with one (it crashes Linux 6.12 with two).
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createWriteStream, writeFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { type Emulator, findEmulator } from "./emulator.ts";
import { SerialConsole } from "./serial.ts";

export interface DriveOptions {
  readonly file: string;
  readonly bus?: "virtio" | "scsi" | "nvme"; // virtio when absent
  readonly sectorSize?: 512 | 4096; // bytes, logical and physical; 512 when absent
  readonly cache?: "writeback" | "none" | "unsafe"; // writeback when absent
  readonly snapshot?: boolean; // true: the file stays as it was
  readonly readOnly?: boolean;
  /** A file that gets every write and flush of the guest in their order, as dm-log-writes has them; made empty. */
  readonly writeLog?: string;
}

export interface BootOptions {
  /** The disk to boot from; a string is its path. */
  readonly disk?: string | DriveOptions;
  readonly extraDrives?: readonly (string | DriveOptions)[];
  /** Discards what the guest writes to any drive that does not say otherwise. */
  readonly snapshot?: boolean;
  /** Gets the serial output, whole; folders are made. */
  readonly log: string;
  readonly memory?: number; // MiB; 1536 when absent
  /** Direct kernel boot, without firmware. */
  readonly kernel?: { readonly image: string; readonly initrd?: string; readonly append: string };
  /** EFI variables kept over boots: made from the empty set when absent on disk. A private copy that is thrown away when not given. */
  readonly variables?: string;
  /** False (when absent) ends QEMU at a reboot of the guest, so that each boot is one call; true lets it go on. */
  readonly reboot?: boolean;
  /** A -netdev backend without its id, as "user,restrict=on,guestfwd=…"; none when absent. A guest never gets a way out. */
  readonly netdev?: string;
  readonly extraArgs?: readonly string[];
}

export interface RunResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Guest extends AsyncDisposable {
  readonly pid: number;
  readonly emulator: Emulator;
  /** Serial output so far, escape sequences and carriage returns removed. */
  output(): string;
  /** Resolves to the match once the serial output since power-on matches. */
  waitFor(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray>;
  /** Runs a shell script as root; logs in over the serial line first, when called for the first time. */
  run(script: string, timeoutMs?: number): Promise<RunResult>;
  /** As `run`, and throws when the status is not 0; resolves to stdout without the last newline. */
  ok(script: string, timeoutMs?: number): Promise<string>;
  /** Shuts the guest down in order and waits for QEMU to end. */
  powerOff(timeoutMs?: number): Promise<void>;
  /** Reboots the guest in order; without `reboot: true` QEMU then ends, and is waited for. */
  reboot(timeoutMs?: number): Promise<void>;
  /** From now on the guest may reboot by itself: what is waited for is what it says then, and nobody is logged in. */
  mayReboot(): void;
  /** Power cut: SIGKILL. What the guest had not flushed is lost from its own caches, not from the machine's. */
  kill(): Promise<void>;
  /** Resolves when QEMU has ended. */
  readonly ended: Promise<void>;
}

const LOGIN_TIMEOUT = 300_000; // milliseconds; two loaded cores under TCG took 170 s once
const RUN_TIMEOUT = 300_000; // systemctl has taken more than one minute on a loaded machine
const STOP_TIMEOUT = 600_000; // the agent carries /etc meanwhile, and a loaded machine has taken three minutes

/** Starts QEMU. Use with `await using`: leaving the scope kills the guest, whatever happened. */
export async function bootDisk(options: BootOptions): Promise<Guest> {
  const emulator = findEmulator();
  if (emulator === undefined)
    throw new Error("no QEMU: run scripts/fetch-roots tools, or install qemu-system-x86 and ovmf");
  // Short, since a socket's path must fit 107 bytes.
  const folder = await mkdtemp(join(tmpdir(), "ashlar-vm-"));
  try {
    return await start(emulator, folder, options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function start(emulator: Emulator, folder: string, options: BootOptions): Promise<Guest> {
  const socketPath = join(folder, "serial");
  const args = [...emulator.machine, "-m", String(options.memory ?? 1536), ...FIXED_ARGS];
  args.push("-chardev", `socket,id=serial,path=${socketPath}`, "-serial", "chardev:serial");
  if (options.reboot !== true) args.push("-no-reboot");
  if (options.kernel === undefined) {
    const variables = options.variables ?? join(folder, "vars.fd");
    await copyFile(emulator.variables, variables, options.variables === undefined ? 0 : COPY_IF_ABSENT).catch(
      unlessExists,
    );
    args.push("-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${quote(emulator.firmware)}`);
    args.push("-drive", `if=pflash,unit=1,format=raw,file=${quote(variables)}`);
  } else {
    args.push("-kernel", options.kernel.image, "-append", options.kernel.append);
    if (options.kernel.initrd !== undefined) args.push("-initrd", options.kernel.initrd);
  }
  if (options.disk !== undefined) args.push(...driveArgs(options.disk, 0, options.snapshot));
  for (const [index, drive] of (options.extraDrives ?? []).entries())
    args.push(...driveArgs(drive, index + 1, options.snapshot));
  if (options.netdev === undefined) args.push("-nic", "none");
  else
    args.push(
      "-netdev",
      options.netdev.replace(/^([^,]*)/, "$1,id=net"),
      "-device",
      "virtio-net-pci,netdev=net,romfile=",
    );
  args.push(...(options.extraArgs ?? []));

  // We listen and QEMU connects: no moment at which the other side is not there yet, and no output is missed.
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(socketPath, resolve));
  const child = spawn(emulator.command[0], [...emulator.command.slice(1), ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...emulator.env },
  });
  const killNow = (): void => void child.kill("SIGKILL");
  process.once("exit", killNow);
  let complaint = "";
  child.stderr?.on("data", (chunk: Uint8Array) => (complaint += new TextDecoder().decode(chunk)));
  const ended = endOf(child).finally(async () => {
    process.off("exit", killNow);
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const socket = await Promise.race([connected, ended.then(() => undefined)]);
  if (socket === undefined) throw new Error(`QEMU did not start: ${complaint.trim()}`);

  await mkdir(dirname(options.log), { recursive: true });
  socket.pipe(createWriteStream(options.log));
  const serial = new SerialConsole(socket);
  void ended.then(() => serial.end(complaint.trim() === "" ? "QEMU ended" : `QEMU ended: ${complaint.trim()}`));
  return makeGuest(child, emulator, ended, serial, options.reboot === true);
}

function makeGuest(
  child: ChildProcess,
  emulator: Emulator,
  ended: Promise<void>,
  serial: SerialConsole,
  goesOn: boolean,
): Guest {
  let shell: Promise<void> | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const login = (): Promise<void> => (shell ??= serial.login("root", LOGIN_TIMEOUT));
  const stop = async (verb: "poweroff" | "reboot", timeoutMs: number): Promise<void> => {
    await login();
    serial.send(`systemctl ${verb} --no-block`);
    shell = undefined;
    if (verb === "reboot" && goesOn) serial.startAgain();
    else await serial.within(ended, timeoutMs, `the guest to ${verb}`);
  };
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  const guest: Guest = {
    pid: child.pid ?? 0,
    emulator,
    ended,
    output: () => serial.text,
    waitFor: (pattern, timeoutMs) => serial.waitFor(pattern, timeoutMs),
    run(script, timeoutMs = RUN_TIMEOUT) {
      // One shell: callers that do not wait for each other are put in a row.
      const result = turn.then(login).then(() => runScript(serial, script, timeoutMs));
      turn = result.catch(() => {});
      return result;
    },
    async ok(script, timeoutMs) {
      const { status, stdout, stderr } = await guest.run(script, timeoutMs);
      if (status !== 0) throw new Error(`in the guest: ${script}: status ${status}: ${(stderr || stdout).trim()}`);
      return stdout.replace(/\n$/, "");
    },
    powerOff: (timeoutMs = STOP_TIMEOUT) => stop("poweroff", timeoutMs),
    reboot: (timeoutMs = STOP_TIMEOUT) => stop("reboot", timeoutMs),
    mayReboot() {
      shell = undefined;
      serial.startAgain();
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
  return guest;
}

const LINE_BYTES = 2000; // a terminal in canonical mode cuts lines at 4096

/**
 * The script goes over as base64 in short lines and its output comes back as base64 between markers, so that neither the
 * terminal's settings nor kernel messages that break in at line ends can change a byte.
 */
async function runScript(serial: SerialConsole, script: string, timeoutMs: number): Promise<RunResult> {
  const id = randomBytes(8).toString("hex");
  const from = serial.text.length;
  const encoded = Buffer.from(script).toString("base64");
  serial.send(": >/run/rig.b64");
  for (let at = 0; at < encoded.length; at += LINE_BYTES)
    serial.send(`echo ${encoded.slice(at, at + LINE_BYTES)} >>/run/rig.b64`);
  // The markers are put together in the guest: an echo of the line itself never looks like one.
  serial.send(
    `base64 -d /run/rig.b64 >/run/rig.sh; sh /run/rig.sh >/run/rig.out 2>/run/rig.err </dev/null; s=$?; ` +
      `echo; echo "<"OUT-${id}; base64 -w 200 /run/rig.out; echo "<"ERR-${id}; base64 -w 200 /run/rig.err; echo "<"END-${id}-$s-`,
  );
  const pattern = new RegExp(`<OUT-${id}\\n([^]*?)<ERR-${id}\\n([^]*?)<END-${id}-(\\d+)-`);
  const answer = await serial.waitFor(pattern, timeoutMs, from, `the end of "${script}"`).catch((error: unknown) => {
    serial.interrupt(); // the shell stays usable
    throw error;
  });
  const [, stdout = "", stderr = "", status = ""] = answer;
  return { status: Number(status), stdout: decodeLines(stdout), stderr: decodeLines(stderr) };
}

function decodeLines(text: string): string {
  const lines = text.split("\n").filter((line) => /^[A-Za-z0-9+/]+=*$/.test(line));
  return Buffer.from(lines.join(""), "base64").toString();
}

const FIXED_ARGS = [
  ...["-display", "none", "-vga", "none", "-nodefaults", "-no-user-config"],
  ...["-device", "virtio-rng-pci"], // or an early boot waits for randomness
];

function driveArgs(drive: string | DriveOptions, index: number, snapshot: boolean | undefined): string[] {
  const options = typeof drive === "string" ? { file: drive } : drive;
  const { file, bus = "virtio", sectorSize = 512, cache = "writeback", readOnly = false } = options;
  const id = `drive${index}`;
  const volatile = (options.snapshot ?? snapshot) === true ? ",snapshot=on" : "";
  // discard=unmap keeps a sparse file sparse.
  const shared = `if=none,id=${id},cache=${cache},discard=unmap,readonly=${readOnly ? "on" : "off"}${volatile}`;
  const backend = `${shared},${options.writeLog === undefined ? `format=raw,file=${quote(file)}` : logged(file, options.writeLog)}`;
  // A kernel that is started directly has the boot index 0.
  const common = `drive=${id},serial=ashlar${index},bootindex=${index + 1},logical_block_size=${sectorSize},physical_block_size=${sectorSize}`;
  const device = {
    virtio: [`virtio-blk-pci,${common}`],
    scsi: [`virtio-scsi-pci,id=bus${index}`, `scsi-hd,bus=bus${index}.0,${common}`],
    nvme: [`nvme,${common}`],
  }[bus];
  return ["-drive", backend, ...device.flatMap((text) => ["-device", text])];
}

/** QEMU's blklogwrites over the file. */
function logged(file: string, log: string): string {
  writeFileSync(log, "");
  const raw = (part: string, path: string): string =>
    `${part}.driver=raw,${part}.file.driver=file,${part}.file.filename=${quote(path)}`;
  return `driver=blklogwrites,${raw("file", file)},${raw("log", log)},log-sector-size=512`;
}

/** In QEMU's option lists a comma is doubled. */
const quote = (path: string): string => path.replaceAll(",", ",,");

const COPY_IF_ABSENT = 1; // fs.constants.COPYFILE_EXCL

function unlessExists(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
}
