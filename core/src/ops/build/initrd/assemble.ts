/** The initrd as a tree: files of the image, ours, and the few that every initrd has. Nothing of the image is executed. */
import { byteString } from "../../../bytes/index.ts";
import { UnsupportedError } from "../../../errors/index.ts";
import { bytesSource, readAll } from "../../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  resolvePath,
} from "../../../tree/index.ts";
import { type Collector, createCollector } from "./collect.ts";
import { planModules } from "./modules.ts";
import { type OwnOptions, putLink, putOwnFiles, putText } from "./own.ts";
import {
  COMMAND_DIRECTORIES,
  GENERATOR_DIRECTORIES,
  NEEDED_COMMANDS,
  NEEDED_GENERATORS,
  NEEDED_SYSTEMD,
  type Program,
  SYSTEMD_DIRECTORIES,
  UDEV_DIRECTORIES,
  WANTED_COMMANDS,
  WANTED_FILES,
  WANTED_SYSTEMD,
  WANTED_UDEV,
} from "./programs.ts";
import {
  NEEDED_RULES,
  NEEDED_UNITS,
  RULE_DIRECTORIES,
  UNIT_ALIASES,
  UNIT_DIRECTORIES,
  WANTED_RULES,
  WANTED_UNITS,
  WANTS,
} from "./units.ts";

export interface InitrdTreeOptions extends OwnOptions {
  readonly kernelVersion: string;
  /** Modules besides the usual ones; each must be there. */
  readonly modules?: readonly string[] | undefined;
}

/** No version in here: the initrd stays the same over releases that do not touch its files. */
const INITRD_RELEASE = 'ID=ashlar-initrd\nNAME="Ashlar initrd"\nPRETTY_NAME="Ashlar initrd"\n';

/** What the usr-merge left in the root: programs and libraries are found under both names. */
const TOP_LINKS: readonly string[] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
const DIRECTORIES: readonly string[] = ["dev", "proc", "root", "run", "sys", "sysroot", "tmp", "var"];

const MAX_TEXT = 4 * 1024 * 1024; // bytes of a rule or group file

/**
 * Throws UnsupportedError `no-systemd`, `no-veritysetup`, `no-mkfs`, `no-modules`, `no-program`, `no-unit`, `no-rule` or
 * `no-library`; FormatError of the files that are read.
 */
export async function assembleInitrdTree(image: Directory, options: InitrdTreeOptions): Promise<Directory> {
  const root = directory(attributes(0o755));
  const collector = await createCollector(image, root);
  putTopLinks(image, root);
  await addPrograms(collector);
  await addUnits(collector, root);
  await addRules(image, collector);
  await addModules(image, collector, root, options);
  for (const path of WANTED_FILES) await collector.add(path);
  putOwnFiles(root, options);
  await putBasics(image, root);
  return root;
}

function putTopLinks(image: Directory, root: Directory): void {
  for (const name of TOP_LINKS) {
    const node = getNode(image, name);
    if (node?.type === "symlink") putLink(root, name, node.target);
  }
}

/** True where one of the directories has the name; the first one counts. */
async function addFirst(collector: Collector, directories: readonly string[], name: string): Promise<boolean> {
  for (const folder of directories) if (await collector.add(`${folder}/${name}`)) return true;
  return false;
}

async function addNeeded(collector: Collector, directories: readonly string[], program: Program): Promise<void> {
  const { name, code = "no-program", debian, fedora } = program;
  if (await addFirst(collector, directories, name)) return;
  const path = `/${directories[0]}/${name}`;
  throw new UnsupportedError(code, `${path}: not in the image (Debian: ${debian}, Fedora: ${fedora})`, { path });
}

async function addPrograms(collector: Collector): Promise<void> {
  for (const program of NEEDED_SYSTEMD) await addNeeded(collector, SYSTEMD_DIRECTORIES, program);
  for (const program of NEEDED_GENERATORS) await addNeeded(collector, GENERATOR_DIRECTORIES, program);
  for (const program of NEEDED_COMMANDS) await addNeeded(collector, COMMAND_DIRECTORIES, program);
  for (const name of WANTED_SYSTEMD) await addFirst(collector, SYSTEMD_DIRECTORIES, name);
  for (const name of WANTED_COMMANDS) await addFirst(collector, COMMAND_DIRECTORIES, name);
  for (const name of WANTED_UDEV) await addFirst(collector, UDEV_DIRECTORIES, name);
}

async function addUnits(collector: Collector, root: Directory): Promise<void> {
  const units = "usr/lib/systemd/system";
  const there = new Set<string>();
  for (const name of NEEDED_UNITS) {
    const needed = { name, code: "no-unit", debian: "systemd", fedora: "systemd-udev" };
    await addNeeded(collector, UNIT_DIRECTORIES, needed);
    there.add(name);
  }
  for (const name of WANTED_UNITS) if (await addFirst(collector, UNIT_DIRECTORIES, name)) there.add(name);
  for (const [target, wanted] of Object.entries(WANTS))
    for (const name of wanted) if (there.has(name)) putLink(root, `${units}/${target}.wants/${name}`, `../${name}`);
  for (const [alias, name] of Object.entries(UNIT_ALIASES)) putLink(root, `${units}/${alias}`, name);
}

async function addRules(image: Directory, collector: Collector): Promise<void> {
  for (const names of NEEDED_RULES) {
    const present = names.find((name) => resolveFirst(image, RULE_DIRECTORIES, name) !== undefined);
    const name = present ?? names[0]!; // no row is empty
    const isDm = /dm/.test(name);
    await addNeeded(collector, RULE_DIRECTORIES, {
      name,
      code: "no-rule",
      debian: isDm ? "dmsetup" : "udev",
      fedora: isDm ? "device-mapper" : "systemd-udev",
    });
  }
  for (const name of WANTED_RULES) await addFirst(collector, RULE_DIRECTORIES, name);
}

function resolveFirst(image: Directory, directories: readonly string[], name: string) {
  for (const folder of directories) {
    const found = resolvePath(image, `${folder}/${name}`);
    if (found?.node.type === "file") return found;
  }
  return undefined;
}

async function addModules(
  image: Directory,
  collector: Collector,
  root: Directory,
  { kernelVersion, modules = [] }: InitrdTreeOptions,
): Promise<void> {
  const plan = await planModules(image, kernelVersion, modules);
  for (const path of plan.copied)
    if (!(await collector.add(path)))
      throw new UnsupportedError("no-modules", `/${path}: modules.dep names it, the image does not have it`, {
        path: `/${path}`,
      });
  // Options and blacklists of the image; ours comes after them by its name in a folder of higher rank.
  for (const folder of ["usr/lib/modprobe.d", "etc/modprobe.d"]) {
    const found = resolvePath(image, folder);
    if (found?.node.type !== "directory") continue;
    for (const name of [...found.node.entries.keys()].sort())
      if (name.endsWith(".conf")) await collector.add(`${folder}/${name}`);
  }
  for (const [path, bytes] of plan.made) putNode(root, path, regularFile(attributes(0o644), bytesSource(bytes)));
}

async function putBasics(image: Directory, root: Directory): Promise<void> {
  for (const name of DIRECTORIES)
    if (getNode(root, name) === undefined) putNode(root, name, directory(attributes(0o755)));
  putLink(root, "init", "usr/lib/systemd/systemd");
  putText(root, "etc/initrd-release", INITRD_RELEASE); // this file makes systemd see that it is in an initrd
  putLink(root, "etc/os-release", "initrd-release");
  putText(root, "etc/machine-id", "");
  putText(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  putText(root, "etc/group", await groupsOf(image, root));
}

/**
 * The lines of the image's groups that the udev rules name, since device nodes made here live on into the real system.
 * Not all groups: adding one to the image would change the initrd.
 */
async function groupsOf(image: Directory, root: Directory): Promise<string> {
  const named = new Set(["root", "tty"]);
  for (const folder of RULE_DIRECTORIES) {
    const rules = getNode(root, folder);
    if (rules?.type !== "directory") continue;
    for (const [name, node] of rules.entries) {
      if (node.type !== "file") continue;
      const text = byteString(await readAll(node.content, MAX_TEXT, `/${folder}/${name}`));
      for (const [, group] of text.matchAll(/\bGROUP:?="([^"]+)"/g)) named.add(group!); // the group always takes part
    }
  }
  const lines = new Map<string, string>();
  for (const path of ["etc/group", "usr/lib/group"]) {
    const file = resolvePath(image, path);
    if (file?.node.type !== "file") continue;
    const text: string = byteString(await readAll(file.node.content, MAX_TEXT, `/${path}`));
    for (const line of text.split("\n")) {
      const [name = "", , gid = ""] = line.split(":");
      if (named.has(name) && /^[0-9]+$/.test(gid) && !lines.has(name)) lines.set(name, `${name}:x:${gid}:\n`);
    }
  }
  if (!lines.has("root")) lines.set("root", "root:x:0:\n");
  return [...lines.values()].sort().join("");
}
