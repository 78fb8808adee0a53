/** A disk: its partitions, what is in each, the UKIs on its ESP and the sealed pairs that they name. */
import { byteString, fromHex, isZero } from "../../bytes/index.ts";
import {
  designatorOf,
  type GptPartitionEntry,
  openGpt,
  PARTITION_FLAGS,
  partitionUuidsFromRootHash,
} from "../../formats/gpt/index.ts";
import { type Source, sliceSource } from "../../source/index.ts";
import { type ErofsReport, inspectErofs } from "./erofs.ts";
import { type FatReport, inspectFat } from "./fat.ts";
import { recognise } from "./locate.ts";
import { attempt, type InspectEnvironment, type Problem } from "./parts.ts";
import { inspectVerity, type VerityReport } from "./verity.ts";

export interface PartitionReport {
  readonly number: number;
  /** Of the Discoverable Partitions Specification; null for a type that it does not have. */
  readonly designator: string | null;
  readonly architecture: string | null;
  readonly typeUuid: string;
  readonly uuid: string;
  readonly label: string;
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  readonly flags: readonly string[];
  /** What its first bytes say: `erofs`, `verity`, `fat`, `ext4`, …; `empty` where they are zeros. */
  readonly holds: string;
  /** For people: `slot A, root of EFI/Linux/os_1.efi`. */
  readonly use: string;
  /** Paths of the UKIs whose root hash names this partition. */
  readonly namedBy: readonly string[];
  readonly content: ErofsReport | VerityReport | null;
}

export interface DiskReport {
  readonly kind: "disk";
  readonly size: number;
  readonly sectorSize: number;
  readonly uuid: string;
  /** Whether each of the two partition tables is sound. */
  readonly tables: { readonly primary: boolean; readonly backup: boolean };
  readonly partitions: readonly PartitionReport[];
  readonly esp: FatReport | null;
  readonly problems: readonly Problem[];
}

const SLOT_NAMES = ["A", "B", "C", "D"] as const;

export async function inspectDisk(source: Source, environment: InspectEnvironment): Promise<DiskReport> {
  const { signal } = environment;
  const problems: Problem[] = [];
  const gpt = await openGpt(source, { signal });
  const espEntry = gpt.partitions.find(({ typeGuid }) => designatorOf(typeGuid)?.designator === "esp");
  const esp =
    espEntry === undefined
      ? undefined
      : await attempt(problems, () => inspectFat(sliceSource(source, espEntry.start, espEntry.size), environment));
  const named = namesOf(esp);
  const slots = slotNames(gpt.partitions);
  const partitions: PartitionReport[] = [];
  for (const entry of gpt.partitions) {
    const { number, typeGuid, partitionGuid, name, start, size } = entry;
    const type = designatorOf(typeGuid);
    const content = sliceSource(source, start, size);
    const holds = (await attempt(problems, () => contentName(content, environment))) ?? "unreadable";
    const namedBy = named.get(partitionGuid) ?? [];
    partitions.push({
      number,
      designator: type?.designator ?? null,
      architecture: type?.architecture ?? null,
      typeUuid: typeGuid,
      uuid: partitionGuid,
      label: name,
      start,
      size,
      flags: flagsOf(entry),
      holds,
      use: useOf(type?.designator, slots.get(number), name, holds, namedBy, esp),
      namedBy,
      content: await inspectContent(content, holds, `partition ${number}`),
    });
  }
  const { primary, backup } = gpt;
  for (const [which, table] of [
    ["primary", primary],
    ["backup", backup],
  ] as const)
    if (!table.valid)
      problems.push({ code: table.error.code, message: `${which} partition table: ${table.error.message}` });
  return {
    kind: "disk",
    size: source.size,
    sectorSize: gpt.sectorSize,
    uuid: gpt.diskGuid,
    tables: { primary: primary.valid, backup: backup.valid },
    partitions,
    esp: esp ?? null,
    problems,
  };

  async function inspectContent(content: Source, holds: string, what: string) {
    const own: Problem[] = [];
    const found = await attempt<ErofsReport | VerityReport | null>(own, async () => {
      if (holds === "erofs") return inspectErofs(content, environment, { digest: false });
      return holds === "verity" ? inspectVerity(content, environment, { digest: false }) : null;
    });
    for (const { code, message } of own) problems.push({ code, message: `${what}: ${message}` });
    return found ?? null;
  }
}

/** Partition UUID → paths of the UKIs whose root hash names it. */
function namesOf(esp: FatReport | undefined): Map<string, string[]> {
  const named = new Map<string, string[]>();
  for (const { path, rootHash } of esp?.ukis ?? []) {
    if (rootHash === null) continue;
    for (const uuid of Object.values(partitionUuidsFromRootHash(fromHex(rootHash))))
      named.set(uuid, [...(named.get(uuid) ?? []), path]);
  }
  return named;
}

/** Root, root-verity and root-verity-sig partitions in order of their numbers make the slots. */
function slotNames(partitions: readonly GptPartitionEntry[]): Map<number, string> {
  const slots = new Map<number, string>();
  const seen = new Map<string, number>();
  for (const { number, typeGuid } of partitions) {
    const designator = designatorOf(typeGuid)?.designator;
    if (designator !== "root" && designator !== "root-verity" && designator !== "root-verity-sig") continue;
    const count = seen.get(designator) ?? 0;
    seen.set(designator, count + 1);
    const name = SLOT_NAMES[count];
    if (name !== undefined) slots.set(number, name);
  }
  return slots;
}

function flagsOf({ attributes }: GptPartitionEntry): string[] {
  const names = Object.entries(PARTITION_FLAGS).filter(([, bit]) => (attributes & bit) !== 0n);
  return names.map(([name]) => name);
}

/** The label that systemd-sysupdate and Ashlar give to a slot that may be written. */
const EMPTY_LABEL = "_empty";

function useOf(
  designator: string | undefined,
  slot: string | undefined,
  label: string,
  holds: string,
  namedBy: readonly string[],
  esp: FatReport | undefined,
): string {
  if (designator === "esp") {
    const count = esp?.ukis.length ?? 0;
    return esp === undefined ? "cannot be read" : `boot: ${count === 1 ? "1 UKI" : `${count} UKIs`}`;
  }
  if (slot !== undefined) {
    const what = { root: "root", "root-verity": "hash device", "root-verity-sig": "signature" }[designator ?? ""] ?? "";
    if (namedBy.length > 0) return `slot ${slot}, ${what} of ${namedBy.join(", ")}`;
    if (label === EMPTY_LABEL || holds === "empty") return `slot ${slot}, ${what}, free`;
    return `slot ${slot}, ${what} that no UKI names`;
  }
  if (designator === "var") return holds === "empty" ? "made at first boot" : "data of this machine";
  return designator === undefined ? "of a type that is not in the DPS" : "";
}

/** Bytes of a partition that are looked at for zeros. */
const PROBE_SIZE = 64 * 1024;
const EXT4_MAGIC_AT = 1024 + 56;
const BTRFS_MAGIC_AT = 65536 + 64;

async function contentName(content: Source, { signal }: InspectEnvironment): Promise<string> {
  const kind = await recognise(content, { signal });
  if (kind === "erofs" || kind === "verity" || kind === "fat") return kind;
  const probe = await content.read(0, Math.min(PROBE_SIZE, content.size), { signal });
  const magic = (source: Uint8Array, at: number, length: number): string =>
    byteString(source.subarray(at, at + length));
  if (magic(probe, EXT4_MAGIC_AT, 2) === "\x53\xef") return "ext4";
  if (magic(probe, 0, 4) === "XFSB") return "xfs";
  if (magic(probe, 0, 6) === "LUKS\xba\xbe") return "luks";
  if (magic(probe, 0, 4) === "hsqs") return "squashfs";
  if (magic(probe, 4096 - 10, 10) === "SWAPSPACE2") return "swap";
  if (
    content.size >= BTRFS_MAGIC_AT + 8 &&
    byteString(await content.read(BTRFS_MAGIC_AT, 8, { signal })) === "_BHRfS_M"
  )
    return "btrfs";
  if (kind !== undefined) return kind;
  return isZero(probe) ? "empty" : "unknown";
}
