/** Disks and partitions as the kernel shows them in sysfs and /proc: who uses them, and where they are mounted. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { deviceNumbers } from "./files.ts";

/** The text of a file of sysfs or /proc without white space around it; undefined where there is none. */
export async function readLine(path: string): Promise<string | undefined> {
  return readFile(path, "latin1").then(
    (text) => text.trim(),
    () => undefined,
  );
}

/** Names in a folder of sysfs; none where it is not there. */
export async function listFolder(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

/** A disk or one of its partitions. */
export interface BlockMember {
  /** In sysfs. */
  readonly folder: string;
  /** Such as `8:1`. */
  readonly numbers: string;
  /** Bytes from the start of the disk; 0 for the disk itself. */
  readonly start: number;
}

/** A disk and its partitions; the disk comes first. @param folder of the disk in sysfs */
export async function membersOf(folder: string): Promise<BlockMember[]> {
  const members: BlockMember[] = [];
  const folders = [folder];
  for (const name of await listFolder(folder))
    if ((await readLine(join(folder, name, "partition"))) !== undefined) folders.push(join(folder, name));
  for (const member of folders)
    members.push({
      folder: member,
      numbers: (await readLine(join(member, "dev"))) ?? "",
      start: Number((await readLine(join(member, "start"))) ?? "0") * 512, // sysfs counts 512-byte sectors whatever the device has
    });
  return members;
}

/** A line of mountinfo (proc(5)). */
export interface Mount {
  /** Of the device, such as `8:1`. */
  readonly numbers: string;
  /** What of the file system is mounted; `/` for all of it. */
  readonly root: string;
  readonly place: string;
  readonly options: readonly string[];
  readonly type: string;
}

/** mountinfo(5) and /proc/swaps write spaces and their like as octal. */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

export async function readMounts(): Promise<Mount[]> {
  const lines = ((await readLine("/proc/self/mountinfo")) ?? "").split("\n");
  return lines.map((line) => {
    const [before = "", after = ""] = line.split(" - ", 2);
    const [, , numbers = "", root = "", place = "", options = ""] = before.split(" ");
    const [type = ""] = after.split(" ");
    return { numbers, root: unescapeOctal(root), place: unescapeOctal(place), options: options.split(","), type };
  });
}

/** Who uses one of them, in words for people, as far as that is to be seen; undefined where nobody does. */
export async function useOf(members: readonly BlockMember[]): Promise<string | undefined> {
  const mounts = await readMounts();
  const swaps = ((await readLine("/proc/swaps")) ?? "").split("\n").slice(1);
  const swapNumbers = await Promise.all(
    swaps.map((line) => stat(unescapeOctal(line.split(/\s/)[0] ?? "")).then(deviceNumbers, () => "")),
  );
  for (const { folder, numbers } of members) {
    const mount = mounts.find((one) => one.numbers === numbers);
    if (mount !== undefined) return `mounted at ${mount.place}`;
    if (swapNumbers.includes(numbers)) return "swap space";
    const [holder] = await listFolder(join(folder, "holders"));
    if (holder !== undefined) return `part of ${(await readLine(`/sys/block/${holder}/dm/name`)) ?? holder}`;
  }
  return undefined;
}
