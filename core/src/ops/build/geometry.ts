/**
 * Where everything lies on a disk. Fixed at install, since a running machine cannot move its partitions: so it is
 * generous, and the same for every release of a product. Pure numbers; writing is disk.ts.
 */
import { alignUp } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import { hashDeviceSize, type VerityParameters } from "../../formats/verity/index.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Partitions start at multiples of this many bytes. */
export const PARTITION_ALIGNMENT = MIB;
/** Room for a DPS verity signature: JSON padded to 4 KiB; one alignment unit is the least a partition takes here. */
const SIGNATURE_SIZE = MIB;
/** Before the first partition and behind the last: the two partition tables. */
const TABLE_ROOM = MIB;

export interface GeometryOptions {
  /** Bytes of the EFI system partition; default 1 GiB, room for three UKIs. */
  readonly espSize?: number | undefined;
  /** Bytes of the root partition of a slot; default twice the root, at least 2 GiB. */
  readonly slotSize?: number | undefined;
  /** Bytes of the /var partition as built; default 1 GiB. Its file system fills it, however large it is made later. */
  readonly varSize?: number | undefined;
  /** Bytes; default 512. */
  readonly sectorSize?: 512 | 4096 | undefined;
}

export interface Extent {
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
}

export interface SlotGeometry {
  readonly root: Extent;
  readonly verity: Extent;
  readonly signature: Extent;
}

export interface Geometry {
  readonly sectorSize: 512 | 4096;
  readonly diskSize: number;
  readonly esp: Extent;
  readonly slotA: SlotGeometry;
  readonly slotB: SlotGeometry;
  readonly variable: Extent;
}

/**
 * @param rootSize bytes of the root that is to be put into slot A
 * Throws PolicyError `slot-too-small`, `bad-size`.
 */
export function planGeometry(rootSize: number, verity: VerityParameters, options: GeometryOptions = {}): Geometry {
  for (const [name, size] of [
    ["--esp-size", options.espSize],
    ["--slot-size", options.slotSize],
    ["--var-size", options.varSize],
  ] as const)
    if (size !== undefined && (!Number.isSafeInteger(size) || size < MIB))
      throw new PolicyError("bad-size", `${name}: ${size} bytes is less than 1 MiB`);
  const slotSize = alignUp(options.slotSize ?? Math.max(2 * rootSize, 2 * GIB), PARTITION_ALIGNMENT);
  if (rootSize > slotSize)
    throw new PolicyError(
      "slot-too-small",
      `the root has ${rootSize} bytes, a slot of ${slotSize} bytes cannot hold it`,
      {
        expected: slotSize,
        actual: rootSize,
      },
    );
  const veritySize = alignUp(hashDeviceSize(slotSize / verity.dataBlockSize, verity), PARTITION_ALIGNMENT);
  let next = TABLE_ROOM;
  function take(size: number): Extent {
    const start = next;
    next += alignUp(size, PARTITION_ALIGNMENT);
    return { start, size: alignUp(size, PARTITION_ALIGNMENT) };
  }
  const takeSlot = (): SlotGeometry => ({
    root: take(slotSize),
    verity: take(veritySize),
    signature: take(SIGNATURE_SIZE),
  });
  const esp = take(options.espSize ?? GIB);
  const slotA = takeSlot();
  const slotB = takeSlot();
  const variable = take(options.varSize ?? GIB);
  return { sectorSize: options.sectorSize ?? 512, diskSize: next + TABLE_ROOM, esp, slotA, slotB, variable };
}
