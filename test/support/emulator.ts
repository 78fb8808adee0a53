// Finds a QEMU and the firmware that fits it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { findRoot, IN_TOOLS } from "./roots.ts";

export interface Emulator {
  readonly version: number; // major
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Machine, accelerator and processor options known to boot Linux 6.12 with this version. */
  readonly machine: readonly string[];
  readonly firmware: string;
  /** The empty set of EFI variables; to be copied. */
  readonly variables: string;
}

/** The tools root's QEMU if there is one, else the machine's. */
export function findEmulator(env: NodeJS.ProcessEnv = process.env): Emulator | undefined {
  const kvm = env["ASHLAR_KVM"] === "1"; // /dev/kvm may exist and still not run a guest, so only on request
  // The death signal ends QEMU with the test runner, even if that is killed. It is set innermost, since a new user namespace clears it.
  const program = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"];
  const root = findRoot("tools");
  if (root !== undefined) {
    const found = tryEmulator([IN_TOOLS, ...program], { ASHLAR_TOOLS_ROOT: root }, root, kvm);
    if (found !== undefined) return found;
  }
  return tryEmulator(["/usr/bin/env", ...program], {}, "/", kvm);
}

function tryEmulator(
  command: readonly [string, ...string[]],
  env: Record<string, string>,
  root: string,
  kvm: boolean,
): Emulator | undefined {
  const firmware = join(root, "usr/share/OVMF/OVMF_CODE_4M.fd");
  const variables = join(root, "usr/share/OVMF/OVMF_VARS_4M.fd");
  if (!existsSync(firmware) || !existsSync(variables)) return undefined;
  const { stdout } = spawnSync(command[0], [...command.slice(1), "--version"], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  const major = /QEMU emulator version (\d+)/.exec(stdout ?? "")?.[1];
  if (major === undefined) return undefined;
  const version = Number(major);
  return { version, command, env, firmware, variables, machine: machineArgs(version, kvm) };
}

function machineArgs(version: number, kvm: boolean): readonly string[] {
  const machine = ["-machine", "q35,sata=off"];
  if (kvm) return [...machine, "-accel", "kvm", "-cpu", "host", "-smp", "2"];
  if (version >= 10) return [...machine, "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2"];
  // Two vCPUs of QEMU 7.2 crash Linux 6.12 in ACPI initialisation (corrupt EFLAGS); one is slow and works.
  return [...machine, "-accel", "tcg,thread=single", "-cpu", "Nehalem", "-smp", "1"];
}
