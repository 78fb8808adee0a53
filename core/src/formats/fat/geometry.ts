/** Where things are on a FAT32 volume of a given size: one deterministic rule. */
import { alignUp } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { MAX_CLUSTERS, MIN_CLUSTERS } from "./format.ts";

export type SectorSize = 512 | 4096;

/** FATs, the data area and files of this size or more start at multiples of this many bytes of the partition. */
export const ALIGNMENT = 4096;

/** Sectors before the first FAT: boot sector, FSInfo, their copies at 6 and 7, and room as everybody leaves. */
export const RESERVED_SECTORS = 32;
export const INFO_SECTOR = 1;
export const BACKUP_SECTOR = 6;
export const FAT_COUNT = 2;

/** The spec asks writers to keep 16 clusters away from the limit, since some drivers are off by a few. */
const FEWEST_CLUSTERS = MIN_CLUSTERS + 16;

export interface Geometry {
  readonly sectorSize: SectorSize;
  /** Bytes. */
  readonly clusterSize: number;
  /** Sectors of the volume. */
  readonly totalSectors: number;
  /** Bytes of one FAT. */
  readonly fatSize: number;
  /** Bytes from the start to the first FAT. */
  readonly fatStart: number;
  /** Bytes from the start to cluster 2. */
  readonly dataStart: number;
  readonly clusterCount: number;
}

/** Largest volume in bytes → bytes of a cluster (fatgen103's table, but 4 KiB from the smallest size that allows it). */
const CLUSTER_SIZES: readonly (readonly [number, number])[] = [
  [8 * 2 ** 30, 4096],
  [16 * 2 ** 30, 8192],
  [32 * 2 ** 30, 16384],
  [Number.POSITIVE_INFINITY, 32768],
];

function layOut(size: number, sectorSize: SectorSize, clusterSize: number): Geometry {
  const fatStart = RESERVED_SECTORS * sectorSize;
  // One entry of 4 bytes in each FAT a cluster; a FAT sized for the clusters there would be without FATs is enough.
  const most = Math.max(0, Math.floor((size - fatStart + 2 * 4 * FAT_COUNT) / (clusterSize + 4 * FAT_COUNT)));
  const fatSize = alignUp((most + 2) * 4, ALIGNMENT);
  const dataStart = fatStart + FAT_COUNT * fatSize;
  const clusterCount = Math.max(0, Math.floor((size - dataStart) / clusterSize));
  return { sectorSize, clusterSize, totalSectors: size / sectorSize, fatSize, fatStart, dataStart, clusterCount };
}

/** Bytes of the smallest volume that {@link planGeometry} accepts. */
export function minimumFatSize(sectorSize: SectorSize): number {
  const fatSize = alignUp((FEWEST_CLUSTERS + 2) * 4, ALIGNMENT);
  const size = RESERVED_SECTORS * sectorSize + FAT_COUNT * fatSize + FEWEST_CLUSTERS * sectorSize;
  return alignUp(size, ALIGNMENT);
}

/**
 * The cluster size is the table's, halved while the volume would have too few clusters for FAT32.
 * Throws UnsupportedError `fat-size` for a size that FAT32 does not have.
 */
export function planGeometry(size: number, sectorSize: SectorSize): Geometry {
  if (!Number.isSafeInteger(size) || size < 0 || size % sectorSize !== 0)
    throw new UnsupportedError("fat-size", `FAT32 of ${size} bytes: not a multiple of the ${sectorSize} B sector`, {
      actual: size,
    });
  const fitting = CLUSTER_SIZES.find(([largest]) => size <= largest)!; // the last row has no limit
  let geometry = layOut(size, sectorSize, fitting[1]);
  while (geometry.clusterCount < FEWEST_CLUSTERS && geometry.clusterSize > sectorSize)
    geometry = layOut(size, sectorSize, geometry.clusterSize / 2);
  const minimum = minimumFatSize(sectorSize);
  if (geometry.clusterCount < FEWEST_CLUSTERS)
    throw new UnsupportedError(
      "fat-size",
      `FAT32 of ${size} bytes is too small: with ${sectorSize} B sectors it needs ${minimum} bytes`,
      { expected: minimum, actual: size },
    );
  if (geometry.totalSectors > 0xffffffff || geometry.clusterCount > MAX_CLUSTERS)
    throw new UnsupportedError("fat-size", `FAT32 of ${size} bytes: 2^32 sectors of ${sectorSize} B are the most`, {
      actual: size,
    });
  return geometry;
}

/** Offset of a cluster in bytes from the start of the volume. */
export function clusterOffset(geometry: Pick<Geometry, "dataStart" | "clusterSize">, cluster: number): number {
  return geometry.dataStart + (cluster - 2) * geometry.clusterSize;
}
