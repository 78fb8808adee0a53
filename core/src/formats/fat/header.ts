/** Interprets the boot sector of a FAT32 volume. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { BOOT_SIGNATURE, FIRST_CLUSTER, RawBootSector } from "./format.ts";

/** Sizes of a sector that exist, in bytes. */
const SECTOR_SIZES = [512, 1024, 2048, 4096];

export interface FatHeader {
  /** Bytes. */
  readonly sectorSize: number;
  /** Bytes. */
  readonly clusterSize: number;
  /** Bytes of the volume; the source may have more. */
  readonly size: number;
  /** Bytes from the start to the FAT that is in use. */
  readonly fatStart: number;
  /** Bytes from the start to cluster 2. */
  readonly dataStart: number;
  readonly clusterCount: number;
  readonly rootCluster: number;
  readonly volumeId: number;
}

/**
 * Checks and interprets the boot sector, the first 512 bytes of a volume. FAT32 is told by its BPB, as Linux does, not
 * by its number of clusters: small volumes made with `mkfs.fat -F 32` are common.
 *
 * Throws FormatError for what is no FAT volume, UnsupportedError `fat-type` for FAT12 and FAT16.
 */
export function parseBootSector(bytes: Uint8Array): FatHeader {
  const boot = RawBootSector.view(bytes);
  const wrong = (what: string, actual: number) =>
    new FormatError("bad-fat", `not a FAT volume: ${what} is ${actual}`, { actual });
  if (boot.signature !== BOOT_SIGNATURE) throw wrong("boot signature", boot.signature);
  if (!SECTOR_SIZES.includes(boot.sectorSize)) throw wrong("sector size", boot.sectorSize);
  const { sectorSize, clusterSectors, reservedSectors, fatCount } = boot;
  if (clusterSectors === 0 || (clusterSectors & (clusterSectors - 1)) !== 0)
    throw wrong("number of sectors in a cluster", clusterSectors);
  if (reservedSectors === 0) throw wrong("number of reserved sectors", 0);
  if (fatCount === 0) throw wrong("number of FATs", 0);
  if (boot.fatSectors16 !== 0 || boot.rootEntries16 !== 0)
    throw new UnsupportedError("fat-type", "FAT12 and FAT16 volumes are not implemented");
  if (boot.version !== 0) throw new UnsupportedError("fat-version", `FAT32 version ${boot.version} is not implemented`);
  const totalSectors = boot.totalSectors === 0 ? boot.totalSectors16 : boot.totalSectors;
  const mirrored = (boot.extendedFlags & 0x80) === 0;
  const active = mirrored ? 0 : boot.extendedFlags & 0x0f;
  if (active >= fatCount) throw wrong("number of the active FAT", active);
  const dataSector = reservedSectors + fatCount * boot.fatSectors;
  if (boot.fatSectors === 0 || dataSector >= totalSectors) throw wrong("number of sectors in a FAT", boot.fatSectors);
  const clusterCount = Math.min(
    Math.floor((totalSectors - dataSector) / clusterSectors),
    (boot.fatSectors * sectorSize) / 4 - FIRST_CLUSTER, // a FAT that is too short hides the rest
  );
  return {
    sectorSize,
    clusterSize: clusterSectors * sectorSize,
    size: totalSectors * sectorSize,
    fatStart: (reservedSectors + active * boot.fatSectors) * sectorSize,
    dataStart: dataSector * sectorSize,
    clusterCount,
    rootCluster: boot.rootCluster,
    volumeId: boot.volumeId,
  };
}
