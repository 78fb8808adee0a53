/**
 * A machine without an emulator: a disk in memory that `install` wrote, a boot loader that counts tries, a kernel that says which
 * root it verifies, and files that last. It is what the agent's port asks for.
 */
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { SinkError } from "../../core/src/errors/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { decompressFrame, nodeHashes } from "../../core/src/node/index.ts";
import type { GenerationStore } from "../../core/src/ops/etc/index.ts";
import { silentReporter } from "../../core/src/ops/index.ts";
import {
  type MachineFacts,
  type MachineHost,
  type PolicyText,
  type RecordStore,
  utcWallClock,
} from "../../core/src/ops/machine/index.ts";
import {
  type BootEntry,
  checkEsp,
  chosenEntry,
  ENTRY_FOLDER,
  espVolume,
  fileContent,
  formatEntryName,
  installRelease,
  mendEsp,
  readBootEntries,
  readSlots,
} from "../../core/src/ops/update/index.ts";
import { fatFiles } from "./fat-files.ts";
import { type MemoryDevice, memoryDevice } from "./memory-device.ts";
import type { SampleRelease } from "./releases.ts";

export const MACHINE_ID = "0123456789abcdef0123456789abcdef";
const DISK_SIZE = 96 * 1024 * 1024;

export interface MemoryRecords extends RecordStore {
  readonly files: Map<string, Uint8Array>;
}

export function memoryRecords(): MemoryRecords {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    read: async (name) => files.get(name),
    async write(name, bytes) {
      files.set(name, Uint8Array.from(bytes));
    },
    async setAside(name) {
      const bytes = files.get(name);
      if (bytes !== undefined) files.set(`${name}.bad`, bytes);
      files.delete(name);
    },
    list: async () => [...files.keys()],
    async remove(name) {
      files.delete(name);
    },
  };
}

export interface MachineModel extends MachineHost {
  readonly records: MemoryRecords;
  readonly volatile: MemoryRecords;
  readonly recipes: MemoryRecords;
  device: MemoryDevice;
  /** Milliseconds since 1970. */
  time: number;
  /** Files by path, of both folders. */
  readonly sealed: Map<string, string>;
  readonly local: Map<string, string>;
  /** Who looks: without privileges the kernel's table is not to be seen. */
  privileged: boolean;
  /** Who uses the inactive slot. */
  slotUse: string | undefined;
  espReadOnly: boolean;
  /** Somebody has it mounted and works in it. */
  espInUse: boolean;
  etc: GenerationStore | undefined;
  readonly reboots: { count: number };
  /** Starts what the boot loader chooses, and counts; returns the entry with its counter from now on. */
  boot(): Promise<BootEntry>;
  /** As systemd-bless-boot does it when boot-complete.target is reached. */
  bless(): Promise<void>;
  entries(): Promise<readonly BootEntry[]>;
}

/** A disk on which `release` was installed. */
export async function installedDisk(release: SampleRelease): Promise<MemoryDevice> {
  const environment = {
    hashes: nodeHashes,
    blockHasher: inlineBlockHasher(nodeHashes),
    decompressFrame,
    reporter: silentReporter,
  };
  const device = memoryDevice(DISK_SIZE);
  await installRelease(fileContent(release, environment), device, environment);
  return device;
}

/** A machine with this disk, which it has booted. */
export async function machineModel(device: MemoryDevice): Promise<MachineModel> {
  let running: BootEntry | undefined;
  let selectedEntry = "";
  let boots = 0;
  let holder: string | undefined;
  const texts = (files: ReadonlyMap<string, string>): PolicyText[] =>
    [...files].sort().map(([path, text]) => ({ path, bytes: encodeUtf8(text) }));
  const espFiles = async () => fatFiles(model.device, (await readSlots(model.device, "x86-64")).esp);
  const model: MachineModel = {
    records: memoryRecords(),
    volatile: memoryRecords(),
    recipes: memoryRecords(),
    device,
    time: Date.parse("2026-11-23T12:00:00Z"),
    sealed: new Map(),
    local: new Map(),
    privileged: true,
    slotUse: undefined,
    espReadOnly: false,
    espInUse: false,
    etc: undefined,
    reboots: { count: 0 },
    clock: () => model.time,
    wallClock: utcWallClock,
    generations: async () => model.etc,
    async facts(): Promise<MachineFacts> {
      const rootHash = running?.rootHash ?? "";
      return {
        architecture: "amd64",
        root: {
          rootHash,
          from: model.privileged ? "kernel" : "command-line",
          corrupted: model.privileged ? false : undefined,
          dataDevice: model.privileged ? "8:2" : undefined,
          disk: model.privileged ? "disk" : undefined,
        },
        imageId: "sample",
        imageVersion: running?.version,
        loader: {
          loader: "systemd-boot 257",
          stub: "systemd-stub 257",
          selectedEntry,
          bootCountPath: undefined,
          secureBoot: false,
        },
        machineId: MACHINE_ID,
        bootId: `boot ${boots}`,
        uptime: 60,
        builtAt: Date.parse("2026-01-01T00:00:00Z"),
        agentVersion: "1",
      };
    },
    policyFiles: async () => ({ sealed: texts(model.sealed), local: texts(model.local) }),
    async lock(verb) {
      if (holder !== undefined) throw new SinkError("busy", `another run changes this machine: ${holder}`);
      holder = verb;
      return {
        release: async () => {
          holder = undefined;
        },
      };
    },
    isLocked: async () => holder !== undefined,
    async openDisk() {
      return {
        device: model.device,
        openEsp: async (esp, { mend = false } = {}) => {
          const volume = espVolume(model.device, esp);
          const isMended = mend && !model.espInUse;
          const { removed, damaged } = await (isMended ? mendEsp(volume) : checkEsp(volume));
          const state = { mended: isMended ? removed : [], unmended: isMended ? [] : removed, damaged };
          const files = await fatFiles(model.device, esp);
          const refuse = async () => {
            throw new SinkError("read-only", "esp: the file system is read-only");
          };
          const writing = model.espReadOnly ? { write: refuse, overwrite: refuse, rename: refuse, remove: refuse } : {};
          return { ...files, ...writing, ...state, readOnly: model.espReadOnly, close: async () => {} };
        },
        useOf: async () => model.slotUse,
        close: async () => {},
      };
    },
    async reboot() {
      model.reboots.count++;
    },
    async boot() {
      const files = await espFiles();
      const chosen = chosenEntry((await readBootEntries(files)).entries);
      if (chosen === undefined) throw new Error("nothing boots");
      boots++;
      selectedEntry = chosen.name.toLowerCase();
      model.volatile.files.clear();
      const { counter } = chosen;
      const isCounted = counter !== undefined && counter.left > 0;
      running = isCounted ? { ...chosen, counter: { left: counter.left - 1, done: counter.done + 1 } } : chosen;
      const name = formatEntryName(running);
      if (isCounted) {
        await files.rename(`${ENTRY_FOLDER}/${chosen.name}`, `${ENTRY_FOLDER}/${name}`);
        await files.flush();
      }
      running = { ...running, name };
      return running;
    },
    async bless() {
      if (running?.counter === undefined) return;
      const files = await espFiles();
      const good = { ...running, counter: undefined };
      const name = formatEntryName(good);
      await files.rename(`${ENTRY_FOLDER}/${running.name}`, `${ENTRY_FOLDER}/${name}`);
      await files.flush();
      running = { ...good, name };
    },
    entries: async () => (await readBootEntries(await espFiles())).entries,
  };
  await model.boot();
  return model;
}
