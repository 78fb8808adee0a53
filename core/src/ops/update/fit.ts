/** Where everything lies on a given disk: as the release was built, grown to what is there. Pure numbers. */
import { alignUp } from "../../bytes/index.ts";
import { PolicyError, UnsupportedError } from "../../errors/index.ts";
import { PARTITION_ALIGNMENT } from "../../formats/gpt/index.ts";
import type { VerityParameters } from "../../formats/verity/index.ts";
import { type Geometry, type GeometryOptions, planGeometry } from "../build/geometry.ts";

/** Of the space that is more than the release was built for, each slot gets this part, … */
const SLOT_SHARE = 1 / 8;
/** … until it is this many times as large as built. */
const MAX_SLOT_GROWTH = 4;

export type Sizes = Pick<GeometryOptions, "espSize" | "slotSize" | "varSize">;

export interface DiskShape {
  /** Bytes. */
  readonly size: number;
  readonly sectorSize: 512 | 4096;
}

/**
 * A disk of the size that the release was built for gets what the build gave it. Of a larger one each slot gets an eighth of
 * what is more, up to four times its size, and /var the rest; sizes that are asked for are taken as they are.
 * @param built sizes that the release was built with
 * Throws PolicyError `disk-too-small`, and what `planGeometry` throws; UnsupportedError `verity-sectors`.
 */
export function fitGeometry(
  rootSize: number,
  verity: VerityParameters,
  disk: DiskShape,
  built: Sizes,
  asked: Sizes = {},
): Geometry {
  const { sectorSize } = disk;
  if (verity.dataBlockSize < sectorSize || verity.hashBlockSize < sectorSize)
    throw new UnsupportedError(
      "verity-sectors",
      `the release is sealed in blocks of ${Math.min(verity.dataBlockSize, verity.hashBlockSize)} bytes; a disk with sectors of ${sectorSize} bytes cannot read them`,
    );
  const plan = (sizes: Sizes) => planGeometry(rootSize, verity, { ...sizes, sectorSize });
  const sizes: Sizes = {
    espSize: asked.espSize ?? built.espSize,
    slotSize: asked.slotSize ?? built.slotSize,
    varSize: asked.varSize ?? built.varSize,
  };
  const least = plan(sizes);
  const spare = disk.size - least.diskSize;
  if (spare < 0)
    throw new PolicyError(
      "disk-too-small",
      `the disk has ${disk.size} bytes, ${least.diskSize} are needed: ESP ${least.esp.size}, two slots of ${least.slotA.root.size} with their hash trees, /var ${least.variable.size}`,
      { expected: least.diskSize, actual: disk.size },
    );
  const slot = least.slotA.root.size;
  const grown = Math.min(slot * MAX_SLOT_GROWTH, slot + spare * SLOT_SHARE);
  const slotSize = asked.slotSize ?? grown - (grown % PARTITION_ALIGNMENT);
  const withSlots = plan({ ...sizes, slotSize });
  const room = disk.size - withSlots.diskSize;
  const varSize = asked.varSize ?? withSlots.variable.size + room - (room % PARTITION_ALIGNMENT);
  return { ...plan({ ...sizes, slotSize, varSize: alignUp(varSize, PARTITION_ALIGNMENT) }), diskSize: disk.size };
}
