/**
 * The two slots of a disk, found by partition type and order. Labels are for people, and for telling a free slot; other
 * programs may have changed them. What runs is told by its root hash, which comes from the kernel and never from a file.
 */
import { parseUuid, toHex } from "../../bytes/index.ts";
import { FormatError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import {
  designatorOf,
  type Gpt,
  type GptPartitionEntry,
  openGpt,
  PARTITION_FLAGS,
  partitionType,
} from "../../formats/gpt/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import type { Architecture } from "../build/architecture.ts";
import { EMPTY_LABEL } from "../build/disk.ts";

/** Labels begin so while systemd-sysupdate (260 and later) fills a partition, or has one wait for the reboot. */
const PARTIAL_LABELS = ["PRT#", "PND#"];

export type SlotName = "a" | "b";

export interface Slot {
  readonly name: SlotName;
  readonly root: GptPartitionEntry;
  readonly verity: GptPartitionEntry;
  /** Room for a signature of the root hash; disks of others may have none. */
  readonly signature: GptPartitionEntry | undefined;
  /**
   * What the partition UUIDs say that the slot holds, lower-case hexadecimal: the two are the halves of a root hash.
   * Undefined for a slot that is free, or that another program is filling.
   */
  readonly rootHash: string | undefined;
}

export interface Slots {
  readonly gpt: Gpt;
  readonly architecture: Architecture["systemd"];
  readonly esp: GptPartitionEntry;
  /** In the order of the disk: A, B. */
  readonly slots: readonly [Slot, Slot];
}

type SlotDesignator = "root" | "root-verity" | "root-verity-sig";

/**
 * Reads the slots of a disk that `install` wrote, or that looks like one. Throws FormatError `not-gpt`, `no-esp`;
 * UnsupportedError `no-slots` for a disk that has not two pairs of root and hash device.
 */
export async function readSlots(
  disk: Source,
  architecture: Architecture["systemd"],
  options?: ReadOptions,
): Promise<Slots> {
  const gpt = await openGpt(disk, options);
  const inOrder = gpt.partitions.toSorted((a, b) => a.start - b.start);
  const esp = inOrder.find(({ typeGuid }) => designatorOf(typeGuid)?.designator === "esp");
  if (esp === undefined) throw new FormatError("no-esp", "the disk has no EFI system partition");
  const found = (designator: SlotDesignator) =>
    inOrder.filter(({ typeGuid }) => typeGuid === partitionType(designator, architecture));
  const [roots, verities, signatures] = [found("root"), found("root-verity"), found("root-verity-sig")];
  completePair(roots, verities, inOrder);
  const [rootA, rootB, ...moreRoots] = roots;
  const [verityA, verityB, ...moreVerities] = verities;
  const isPair = rootA !== undefined && rootB !== undefined && verityA !== undefined && verityB !== undefined;
  if (!isPair || moreRoots.length > 0 || moreVerities.length > 0)
    throw new UnsupportedError(
      "no-slots",
      `the disk has ${roots.length} roots and ${verities.length} hash devices for ${architecture}; two of each are needed`,
    );
  return {
    gpt,
    architecture,
    esp,
    slots: [slotOf("a", rootA, verityA, signatures[0]), slotOf("b", rootB, verityB, signatures[1])],
  };
}

/**
 * While systemd-sysupdate fills a slot its partitions have types of their own. They are known as those that are as large as
 * the pair that has its types, one behind the other in the same order.
 */
function completePair(
  roots: GptPartitionEntry[],
  verities: GptPartitionEntry[],
  inOrder: readonly GptPartitionEntry[],
): void {
  for (const list of [roots, verities]) {
    const [known] = list;
    if (known === undefined || list.length !== 1) continue;
    const foreign = inOrder.filter(({ typeGuid, size }) => designatorOf(typeGuid) === undefined && size === known.size);
    if (foreign.length !== 1) continue;
    list.push(...foreign);
    list.sort((a, b) => a.start - b.start);
  }
}

function slotOf(
  name: SlotName,
  root: GptPartitionEntry,
  verity: GptPartitionEntry,
  signature: GptPartitionEntry | undefined,
): Slot {
  return { name, root, verity, signature, rootHash: holdsRoot(root, verity) ? rootHashOf(root, verity) : undefined };
}

function holdsRoot(...pair: readonly GptPartitionEntry[]): boolean {
  return pair.every(
    ({ name, typeGuid, attributes }) =>
      name !== EMPTY_LABEL &&
      !PARTIAL_LABELS.some((prefix) => name.startsWith(prefix)) &&
      designatorOf(typeGuid) !== undefined &&
      (attributes & PARTITION_FLAGS.noAuto) === 0n,
  );
}

/** The root hash that the UUIDs of a sealed pair are the halves of. */
function rootHashOf(
  root: Pick<GptPartitionEntry, "partitionGuid">,
  verity: Pick<GptPartitionEntry, "partitionGuid">,
): string {
  return toHex(parseUuid(root.partitionGuid)) + toHex(parseUuid(verity.partitionGuid));
}

export interface RunningSlot {
  readonly running: Slot;
  readonly inactive: Slot;
}

/**
 * Which slot runs. Its label and flags do not matter: the UUIDs have to be those of the root hash, since it was found by them.
 * Throws PolicyError `not-this-disk` where no slot has it.
 * @param rootHash of the kernel's dm-verity table, lower-case hexadecimal
 */
export function runningSlot({ slots }: Slots, rootHash: string): RunningSlot {
  const running = slots.find(({ root, verity }) => rootHashOf(root, verity) === rootHash);
  if (running === undefined)
    throw new PolicyError("not-this-disk", `no slot of the disk has the root that runs, ${rootHash}`, {
      expected: rootHash,
    });
  const [a, b] = slots;
  return { running, inactive: running === a ? b : a };
}
