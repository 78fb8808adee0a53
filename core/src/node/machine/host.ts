/** This machine, as the agent uses it. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { FormatError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { etcLayerOf } from "../../ops/etc/index.ts";
import {
  LOCAL_POLICY_FOLDER,
  MAX_POLICY_FILE,
  MAX_POLICY_FILES,
  type MachineDisk,
  type MachineHost,
  type PolicyText,
  SEALED_POLICY_FOLDER,
} from "../../ops/machine/index.ts";
import { readAll } from "../../source/index.ts";
import { type BlockMember, membersOf, useOf } from "../block-devices.ts";
import { openDevice } from "../device.ts";
import { readFailure } from "../errors.ts";
import { openFile } from "../files.ts";
import { isAgentLocked, lockAgent } from "./agent-lock.ts";
import { openEsp } from "./esp.ts";
import { openGenerations } from "./etc-generations.ts";
import { deviceNode, diskFolderOf, readMachineFacts } from "./facts.ts";
import { recordFiles } from "./record-files.ts";

const STATE_FOLDER = "/var/lib/ashlar/agent";
const RUN_FOLDER = "/run/ashlar";
const LOCK_FILE = join(RUN_FOLDER, "agent.lock");
/** Bytes of the leaves of one root: 32 a block of 4096, so a root of 8 GiB. */
const MAX_RECIPE_SIZE = 64 * 1024 * 1024;
/** Milliseconds that systemd may take to accept an order. */
const ORDER_LIMIT = 30_000;

async function policyIn(folder: string): Promise<PolicyText[]> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => name.endsWith(".toml")).sort();
  } catch (error) {
    const failure = readFailure(folder, error);
    if (isAshlarError(failure) && failure.code === "not-found") return [];
    throw failure;
  }
  if (names.length > MAX_POLICY_FILES)
    throw new FormatError("bad-policy", `${folder}: has ${names.length} files, more than ${MAX_POLICY_FILES}`);
  return Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      await using file = await openFile(path);
      return { path, bytes: Uint8Array.from(await readAll(file, MAX_POLICY_FILE, path)) };
    }),
  );
}

async function openMachineDisk(dataDevice: string, readOnly: boolean): Promise<MachineDisk> {
  const folder = await diskFolderOf(dataDevice);
  const device = await openDevice(await deviceNode(folder), { shared: true, readOnly });
  const memberAt = async (start: number): Promise<BlockMember> => {
    const member = (await membersOf(folder)).find((one) => one.folder !== folder && one.start === start);
    if (member !== undefined) return member;
    throw new UnsupportedError("unknown-partition", `${device.name}: the kernel knows no partition at byte ${start}`, {
      path: device.name,
      offset: start,
    });
  };
  return {
    device,
    async openEsp(esp, { mend = false } = {}) {
      const member = await memberAt(esp.start);
      return openEsp(await deviceNode(member.folder), member.numbers, { mend });
    },
    async useOf(partitions) {
      const starts = partitions.map(({ start }) => start);
      return useOf((await membersOf(folder)).filter((one) => one.folder !== folder && starts.includes(one.start)));
    },
    close: () => device.close(),
  };
}

/** @param agentVersion of the program */
export function thisMachine(agentVersion: string): MachineHost {
  return {
    facts: () => readMachineFacts(agentVersion),
    async policyFiles() {
      return { sealed: await policyIn(SEALED_POLICY_FOLDER), local: await policyIn(LOCAL_POLICY_FOLDER) };
    },
    records: recordFiles(STATE_FOLDER),
    recipes: recordFiles(join(STATE_FOLDER, "recipes"), MAX_RECIPE_SIZE),
    volatile: recordFiles(RUN_FOLDER),
    clock: () => Date.now(),
    wallClock(time) {
      const date = new Date(time);
      return { weekday: date.getDay(), minutes: date.getHours() * 60 + date.getMinutes() };
    },
    async generations() {
      const layer = etcLayerOf(await readFile("/proc/self/mountinfo", "utf8"));
      return layer.kind === "persistent" ? openGenerations() : undefined;
    },
    lock: (verb, wait) => lockAgent(LOCK_FILE, verb, wait),
    isLocked: () => isAgentLocked(LOCK_FILE),
    async openDisk({ dataDevice }, access) {
      if (dataDevice === undefined)
        throw new UnsupportedError("not-a-machine", "the disk of the root is not to be seen");
      return openMachineDisk(dataDevice, access === "read");
    },
    async reboot() {
      await promisify(execFile)("systemctl", ["reboot"], { timeout: ORDER_LIMIT }).catch((error: unknown) => {
        throw new SourceError("reboot", "systemd did not take the order to reboot", { cause: error });
      });
    },
  };
}
