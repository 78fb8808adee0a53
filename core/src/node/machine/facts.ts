/** What this machine is: from the kernel, sysfs, efivarfs and the running root. */
import { readFile, readlink, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { parseOsRelease } from "../../ops/build/os-release.ts";
import { type MachineFacts, parseVerityTable, type RunningRoot, readLoaderFacts } from "../../ops/machine/index.ts";
import { readLine, readMounts } from "../block-devices.ts";
import { readDmTarget } from "./device-mapper.ts";

const EFI_VARIABLES = "/sys/firmware/efi/efivars";
const OS_RELEASE = "/usr/lib/os-release";

/** Node's names → OCI's, where they differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };

/** The directory in sysfs of the disk that a partition is on. Throws UnsupportedError `root-not-on-partition`. */
export async function diskFolderOf(partition: string): Promise<string> {
  const folder = join("/sys/dev/block", await readlink(`/sys/dev/block/${partition}`).catch(() => partition));
  if ((await readLine(join(folder, "partition"))) === undefined)
    throw new UnsupportedError(
      "root-not-on-partition",
      `the data of the root, device ${partition}, is on no partition`,
    );
  return dirname(folder);
}

/** The device node of a disk or partition. @param folder in sysfs */
export async function deviceNode(folder: string): Promise<string> {
  const name = /^DEVNAME=(.+)$/m.exec((await readLine(join(folder, "uevent"))) ?? "")?.[1];
  if (name === undefined) throw new UnsupportedError("no-device-node", `${folder}: the kernel names no device node`);
  return join("/dev", name);
}

/** Undefined where `/` is no dm-verity device, or nobody may ask. */
async function rootOfKernel(): Promise<RunningRoot | undefined> {
  const root = (await readMounts()).findLast(({ place }) => place === "/");
  if (root === undefined) return undefined;
  const uuid = await readLine(`/sys/dev/block/${root.numbers}/dm/uuid`);
  if (uuid === undefined) return undefined; // not a device-mapper device at all
  const table = await readDmTarget(root.numbers, "table");
  if (table.type !== "verity") return undefined;
  const { rootHash, dataDevice, hashDevice } = parseVerityTable(table.parameters);
  const { parameters: state } = await readDmTarget(root.numbers, "status");
  const [folder, hashFolder] = [await diskFolderOf(dataDevice), await diskFolderOf(hashDevice)];
  return {
    rootHash,
    from: "kernel",
    corrupted: state.startsWith("V") ? false : state.startsWith("C") ? true : undefined,
    dataDevice,
    disk: await deviceNode(folder),
    ...(hashFolder === folder ? {} : { otherDisk: await deviceNode(hashFolder) }),
  };
}

/** Errors of these codes say that it is not for us to see. */
const NOT_ALLOWED = ["no-permission", "no-dm-table"];

async function runningRoot(): Promise<RunningRoot | undefined> {
  try {
    return await rootOfKernel();
  } catch (error) {
    if (!isAshlarError(error) || !NOT_ALLOWED.includes(error.code)) throw error;
    const commandLine = (await readLine("/proc/cmdline")) ?? "";
    const rootHash = commandLine.match(/(?:^|\s)roothash=([0-9a-f]{64})(?=\s|$)/)?.[1];
    return rootHash === undefined
      ? undefined
      : { rootHash, from: "command-line", corrupted: undefined, dataDevice: undefined, disk: undefined };
  }
}

async function readEfiVariable(name: string, vendor: string): Promise<Uint8Array | undefined> {
  return readFile(join(EFI_VARIABLES, `${name}-${vendor}`)).catch(() => undefined); // not there, or no EFI
}

/** @param agentVersion of the program that asks */
export async function readMachineFacts(agentVersion: string): Promise<MachineFacts> {
  const osRelease = parseOsRelease(await readFile(OS_RELEASE).catch(() => new Uint8Array(0)));
  const builtAt = await stat(OS_RELEASE).then(
    ({ mtimeMs }) => Math.floor(mtimeMs),
    () => 0,
  );
  const machineId = await readLine("/etc/machine-id");
  return {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    root: await runningRoot(),
    imageId: osRelease.get("IMAGE_ID"),
    imageVersion: osRelease.get("IMAGE_VERSION"),
    loader: await readLoaderFacts(readEfiVariable),
    machineId: machineId !== undefined && /^[0-9a-f]{32}$/.test(machineId) ? machineId : undefined,
    bootId: (await readLine("/proc/sys/kernel/random/boot_id")) ?? "",
    uptime: Number.parseFloat((await readLine("/proc/uptime")) ?? "0"),
    builtAt,
    agentVersion,
  };
}
