/** Machines in memory: a disk that a release was installed on, its ESP, and what the boot loader and the kernel do with them. */
import assert from "node:assert/strict";
import type { PublishEnvironment } from "../../core/src/ops/publish/index.ts";
import {
  type EspFiles,
  fileContent,
  formatEntryName,
  installRelease,
  type Machine,
  parseEntryName,
  readSlots,
} from "../../core/src/ops/update/index.ts";
import { type Boot, bootOracle, type Started } from "./boot-oracle.ts";
import { fatFiles } from "./fat-files.ts";
import { type MemoryDevice, memoryDevice } from "./memory-device.ts";
import type { SampleRelease } from "./releases.ts";

export async function installed(release: SampleRelease, environment: PublishEnvironment): Promise<MemoryDevice> {
  const disk = release.files.get(release.release.artifacts.find(({ role }) => role === "disk")!.name)!;
  const device = memoryDevice(disk.length);
  await installRelease(fileContent(release, environment), device, environment);
  return device;
}

export async function espOf(device: MemoryDevice): Promise<EspFiles> {
  return fatFiles(device, (await readSlots(device, "x86-64")).esp);
}

/** The machine, running `rootHash`, with its ESP mounted. */
export async function machineOf(device: MemoryDevice, rootHash: string): Promise<Machine> {
  return { device, esp: await espOf(device), architecture: "x86-64", running: rootHash };
}

export function started(boot: Boot): Started {
  assert.ok("rootHash" in boot, "why" in boot ? boot.why : "");
  return boot;
}

/** Starts what the boot loader starts: it counts a try. Confirmed, the entry loses its counter. */
export async function boot(device: MemoryDevice, { isGood }: { isGood: boolean }): Promise<Started> {
  const chosen = started(bootOracle(device));
  const esp = await espOf(device);
  const { stem, counter } = parseEntryName(chosen.entry)!;
  let name = chosen.entry;
  const rename = async (to: string): Promise<void> => {
    if (to === name) return;
    await esp.rename(`EFI/Linux/${name}`, `EFI/Linux/${to}`);
    await esp.flush();
    name = to;
  };
  if (counter !== undefined)
    await rename(formatEntryName({ stem, counter: { left: Math.max(0, counter.left - 1), done: counter.done + 1 } }));
  if (counter !== undefined && isGood) await rename(formatEntryName({ stem, counter: undefined }));
  return { ...chosen, entry: name };
}
