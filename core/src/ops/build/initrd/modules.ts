/** Which kernel modules go into the initrd, and the indexes that they are found by. */
import { type ByteString, byteString } from "../../../bytes/index.ts";
import { UnsupportedError } from "../../../errors/index.ts";
import {
  closeModules,
  depLine,
  encodeAliasIndex,
  encodeDepIndex,
  type Module,
  type ModuleAlias,
  type ModuleSet,
  normaliseName,
  parseModulesAlias,
  parseModulesBuiltin,
  parseModulesDep,
  parseModulesSoftdep,
} from "../../../formats/kmod/index.ts";
import { readAll } from "../../../source/index.ts";
import { type Directory, resolvePath } from "../../../tree/index.ts";

/** The root cannot be mounted without these, be they built in or modules. */
const NEEDED: readonly string[] = ["dm_mod", "dm_verity", "erofs", "ext4", "overlay"];

/** Loaded before anything else, where they are not built in. */
const LOADED_FIRST: readonly string[] = ["dm_verity", "erofs", "overlay"];

/**
 * dm-verity takes the fastest implementation that is there when the root is attached, and keeps it. As soft dependencies
 * of dm_verity they come before it, and a machine whose processor lacks what one needs goes on without an error.
 */
const FAST_HASHES: readonly string[] = ["sha256_ssse3", "sha256_arm64", "sha2_ce"];

/** Taken where the image has them. Names may be aliases. */
const WANTED: readonly string[] = [
  ...FAST_HASHES,
  "crypto-sha256",
  // What systemd itself asks for when it starts; it complains where the index has them and the file is missing.
  ...["autofs4", "ip_tables", "dmi-sysfs", "qemu_fw_cfg", "virtio_rng", "virtio_console", "efivarfs"],
  // Disks of virtual machines.
  ...["virtio_blk", "virtio_scsi", "virtio_pci", "virtio_mmio", "hv_storvsc", "xen-blkfront", "vmw_pvscsi", "mptspi"],
  // Disks of machines.
  ...["nvme", "vmd", "ahci", "ahci_platform", "ata_piix", "sd_mod", "usb-storage", "uas", "mmc_block"],
  ...["sdhci-pci", "sdhci-acpi", "sdhci-iproc", "dw_mmc-pltfm", "ufshcd-pci"],
  ...["mpt3sas", "megaraid_sas", "aacraid", "smartpqi", "hpsa"],
  // What USB disks hang on, and the keyboard at a console.
  ...["xhci-pci", "xhci-plat-hcd", "ehci-pci", "ohci-pci", "uhci-hcd", "usbhid", "hid-generic", "atkbd", "i8042"],
  // Watchdogs in hardware, and what announces them. Not softdog: it would take the place of a real one.
  ...["i6300esb", "iTCO_wdt", "sp5100_tco", "wdat_wdt", "sbsa_gwdt", "lpc_ich", "i2c-i801", "i2c-piix4"],
];

/** Indexes that hold for the initrd as they are. */
const COPIED: readonly string[] = [
  "modules.builtin",
  "modules.builtin.alias.bin",
  "modules.builtin.bin",
  "modules.builtin.modinfo",
];

const MAX_INDEX = 64 * 1024 * 1024; // bytes; modules.symbols of Debian's generic kernel has 1 MB

export interface ModulePlan {
  /** Paths in the image of the modules and of the indexes that are copied. */
  readonly copied: readonly string[];
  /** Path → bytes of what is made. */
  readonly made: ReadonlyMap<string, Uint8Array>;
}

/**
 * @param extra names of more modules, which must be there.
 * Throws UnsupportedError `no-modules`; FormatError of the index files.
 */
export async function planModules(image: Directory, version: string, extra: readonly string[]): Promise<ModulePlan> {
  const folder = folderOf(image, version);
  const read = async (name: string): Promise<Uint8Array> => {
    const found = resolvePath(image, `${folder}/${name}`);
    return found?.node.type === "file"
      ? readAll(found.node.content, MAX_INDEX, `/${folder}/${name}`)
      : new Uint8Array();
  };
  const set: ModuleSet = {
    modules: parseModulesDep(await read("modules.dep")),
    builtin: parseModulesBuiltin(await read("modules.builtin")),
    aliases: parseModulesAlias(await read("modules.alias")),
    wishes: parseModulesSoftdep(await read("modules.softdep"), await read("modules.weakdep")),
  };
  const { modules, missing } = closeModules(set, [...NEEDED, ...WANTED, ...extra]);
  for (const name of [...NEEDED, ...extra])
    if (missing.includes(name))
      throw new UnsupportedError(
        "no-modules",
        `/${folder}: the kernel has no ${name}, neither in modules.dep nor in modules.builtin (Debian: linux-image, Fedora: kernel-modules-core)`,
        { path: `/${folder}` },
      );
  const symbols = parseModulesAlias(await read("modules.symbols"));
  const made = makeIndexes(modules, set.aliases, symbols, await read("modules.softdep"), await read("modules.weakdep"));
  const here = (list: readonly string[]) => list.filter((name) => modules.some((module) => module.name === name));
  return {
    copied: [
      ...modules.map(({ path }) => `${folder}/${path}`),
      ...COPIED.map((name) => `${folder}/${name}`).filter((path) => resolvePath(image, path)?.node.type === "file"),
    ],
    made: new Map([
      ...[...made].map(([name, bytes]) => [`${folder}/${name}`, bytes] as const),
      ["etc/modules-load.d/ashlar.conf", lines(here(LOADED_FIRST) as ByteString[])],
      ["etc/modprobe.d/ashlar.conf", lines([`softdep dm_verity pre: ${here(FAST_HASHES).join(" ")}` as ByteString])],
    ]),
  };
}

function folderOf(image: Directory, version: string): string {
  for (const folder of [`usr/lib/modules/${version}`, `lib/modules/${version}`])
    if (resolvePath(image, folder)?.node.type === "directory") return folder;
  const path = `/usr/lib/modules/${version}`;
  throw new UnsupportedError(
    "no-modules",
    `${path}: no kernel modules in the image (Debian: linux-image, Fedora: kernel-modules-core)`,
    { path },
  );
}

/** The same files that depmod would make, for these modules alone: libkmod reads the .bin ones, people the others. */
function makeIndexes(
  modules: readonly Module[],
  aliases: readonly ModuleAlias[],
  symbols: readonly ModuleAlias[],
  ...wishes: readonly Uint8Array[]
): ReadonlyMap<string, Uint8Array> {
  // Priorities are counted anew, so that the indexes do not change with modules that are not here.
  const numbered = modules.map((module, priority) => ({ ...module, priority }));
  const names = new Set(modules.map(({ name }) => name));
  const ours = (list: readonly ModuleAlias[]) => list.filter(({ module }) => names.has(module));
  const aliasLines = (list: readonly ModuleAlias[]) =>
    lines(ours(list).map(({ pattern, module }) => `alias ${pattern} ${module}` as ByteString));
  const [softdep, weakdep] = wishes.map((bytes) => keepWishes(bytes, names));
  return new Map([
    ["modules.dep", lines(numbered.map(depLine))],
    ["modules.dep.bin", encodeDepIndex(numbered)],
    ["modules.alias", aliasLines(aliases)],
    ["modules.alias.bin", encodeAliasIndex(ours(aliases), numbered)],
    ["modules.symbols.bin", encodeAliasIndex(ours(symbols), numbered)],
    ["modules.softdep", softdep ?? new Uint8Array()],
    ...(weakdep === undefined || weakdep.length === 0 ? [] : ([["modules.weakdep", weakdep]] as const)),
    // Device nodes to make before their modules are asked for: none is used here.
    ["modules.devname", new Uint8Array()],
    ["modules.order", lines(numbered.map(({ path }) => path))],
  ]);
}

/** The lines `softdep MODULE …` and `weakdep MODULE …` of the modules that are there. */
function keepWishes(bytes: Uint8Array, names: ReadonlySet<ByteString>): Uint8Array {
  const kept = byteString(bytes)
    .split("\n")
    .filter((line) => !line.startsWith("#") && names.has(normaliseName(line.split(/[ \t]+/)[1] ?? "")));
  return lines(kept as ByteString[]);
}

function lines(list: readonly ByteString[]): Uint8Array {
  return Uint8Array.from(list.map((line) => `${line}\n`).join(""), (character) => character.charCodeAt(0));
}
