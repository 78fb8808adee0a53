/** Lays a tree out as a FAT32 volume: the same tree and options give the same bytes. */
import { alignUp, type ByteString, encodeUtf8, isZero } from "../../bytes/index.ts";
import { SinkError, UnsupportedError } from "../../errors/index.ts";
import {
  bytesSource,
  chunksOf,
  type Piece,
  piecewiseSource,
  type RandomSink,
  type ReadOptions,
  type Source,
} from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import { collect, directorySize, encodeDirectory } from "./directory.ts";
import {
  BOOT_SIGNATURE,
  CLUSTER_END,
  FIRST_CLUSTER,
  INFO_LEAD_SIGNATURE,
  INFO_SIGNATURE,
  INFO_TRAIL_SIGNATURE,
  RawBootSector,
  RawInfoSector,
} from "./format.ts";
import {
  ALIGNMENT,
  BACKUP_SECTOR,
  clusterOffset,
  FAT_COUNT,
  type Geometry,
  INFO_SECTOR,
  planGeometry,
  RESERVED_SECTORS,
  type SectorSize,
} from "./geometry.ts";
import { encodeFatTime } from "./time.ts";

export interface FatOptions {
  /** Directories and files only. Owners, modes and times of the nodes are not kept. Content is read when emitting. */
  readonly tree: Directory;
  /** Bytes of the volume, a multiple of the sector size. */
  readonly size: number;
  readonly sectorSize: SectorSize;
  /** 32 bits; people see it as `XXXX-XXXX`. */
  readonly volumeId: number;
  /** 1 to 11 of `A-Z 0-9 _ -`, and spaces inside. None leaves the volume without a label. */
  readonly label?: string | undefined;
  /** Time of every entry, nanoseconds since 1970, UTC; clamped to 1980 to 2107. Default: 1980-01-01. */
  readonly time?: bigint | undefined;
}

/** Where a file's bytes are. */
export interface FatExtent {
  readonly path: ByteString;
  /** Bytes from the start of the volume; 0 for an empty file, which has no place. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

export interface FatPlan extends Geometry {
  /** Bytes of the volume. */
  readonly size: number;
  /** All that is not zero, in ascending order. */
  readonly pieces: readonly Piece[];
  /** Every file in canonical path order. */
  readonly files: readonly FatExtent[];
  readonly freeClusters: number;
}

/** Clusters one after the other. */
interface Chain {
  readonly first: number;
  readonly count: number;
}

/**
 * Fixes every byte's place. Directories come first, then files, both in canonical path order and contiguous; a file of
 * 4 KiB or more starts at a multiple of 4 KiB of the volume. A hard link is stored once a name.
 *
 * Throws FormatError `fat-name`; UnsupportedError `fat-size`, `fat-label`, `fat-node`, `fat-file-size`,
 * `fat-name-clash`, `fat-depth`, `fat-directory-size`; SinkError `no-space`.
 */
export function planFat(options: FatOptions): FatPlan {
  const { size, label } = options;
  if (label !== undefined && !/^[A-Z0-9_-](?:[A-Z0-9_ -]{0,9}[A-Z0-9_-])?$/.test(label))
    throw new UnsupportedError("fat-label", `FAT label ${JSON.stringify(label)}: 1 to 11 of A-Z 0-9 _ - are allowed`);
  const geometry = planGeometry(size, options.sectorSize);
  const { clusterSize, clusterCount } = geometry;
  const { directories, files } = collect(options.tree);

  let next = FIRST_CLUSTER;
  const chains: Chain[] = [];
  function allocate(bytes: number): number {
    const count = Math.max(1, Math.ceil(bytes / clusterSize));
    chains.push({ first: next, count });
    next += count;
    return next - count;
  }
  for (const directory of directories) directory.cluster = allocate(directorySize(directory, label));
  const clustersOfAlignment = Math.max(1, ALIGNMENT / clusterSize);
  for (const file of files) {
    if (file.content.size === 0) continue;
    if (file.content.size >= ALIGNMENT) next = FIRST_CLUSTER + alignUp(next - FIRST_CLUSTER, clustersOfAlignment);
    file.cluster = allocate(file.content.size);
  }
  const needed = (next - FIRST_CLUSTER) * clusterSize;
  if (next - FIRST_CLUSTER > clusterCount)
    throw new SinkError(
      "no-space",
      `FAT volume of ${size} bytes: content needs ${needed} bytes, ${clusterCount * clusterSize} are there`,
      { expected: clusterCount * clusterSize, actual: needed },
    );

  const time = encodeFatTime(options.time ?? 0n);
  const placed = (cluster: number, source: Source): Piece => ({ at: clusterOffset(geometry, cluster), source });
  const freeClusters = clusterCount - chains.reduce((sum, { count }) => sum + count, 0);
  const fat = bytesSource(encodeFat(chains, next));
  return {
    ...geometry,
    size,
    freeClusters,
    files: files.map(({ path, content, cluster }) => ({
      path,
      offset: cluster === 0 ? 0 : clusterOffset(geometry, cluster),
      size: content.size,
    })),
    pieces: [
      ...encodeHead(geometry, options, freeClusters, next),
      ...Array.from({ length: FAT_COUNT }, (_, i) => ({ at: geometry.fatStart + i * geometry.fatSize, source: fat })),
      ...directories.map((directory) =>
        placed(directory.cluster, bytesSource(encodeDirectory(directory, label, time))),
      ),
      ...files.filter(({ cluster }) => cluster !== 0).map(({ cluster, content }) => placed(cluster, content)),
    ],
  };
}

/** One FAT up to its last entry in use; the rest is zero, which means free. */
function encodeFat(chains: readonly Chain[], end: number): Uint8Array {
  const bytes = new Uint8Array(end * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0ffffff8, true); // media byte, and all bits above it set
  view.setUint32(4, CLUSTER_END, true); // also: shut down cleanly, no errors seen
  for (const { first, count } of chains) {
    for (let i = 0; i < count - 1; i++) view.setUint32((first + i) * 4, first + i + 1, true);
    view.setUint32((first + count - 1) * 4, CLUSTER_END, true);
  }
  return bytes;
}

/** Boot sector, FSInfo, and their copies. */
function encodeHead(geometry: Geometry, options: FatOptions, freeClusters: number, nextFree: number): Piece[] {
  const { sectorSize } = geometry;
  const boot = RawBootSector.encode({
    jump: Uint8Array.of(0xeb, 0x58, 0x90), // to `code`
    oemName: encodeUtf8("MSWIN4.1"), // the one that the spec says all drivers take
    sectorSize,
    clusterSectors: geometry.clusterSize / sectorSize,
    reservedSectors: RESERVED_SECTORS,
    fatCount: FAT_COUNT,
    rootEntries16: 0,
    totalSectors16: 0,
    media: 0xf8,
    fatSectors16: 0,
    trackSectors: 63, // nobody has used the cylinders of a disk for long; these are what everybody writes
    heads: 255,
    hiddenSectors: 0, // so that the volume does not depend on where it will stand
    totalSectors: geometry.totalSectors,
    fatSectors: geometry.fatSize / sectorSize,
    extendedFlags: 0,
    version: 0,
    rootCluster: FIRST_CLUSTER,
    infoSector: INFO_SECTOR,
    backupSector: BACKUP_SECTOR,
    reserved: new Uint8Array(12),
    driveNumber: 0x80,
    dirty: 0,
    extendedSignature: 0x29,
    volumeId: options.volumeId,
    label: encodeUtf8((options.label ?? "NO NAME").padEnd(11)),
    typeName: encodeUtf8("FAT32   "),
    code: Uint8Array.of(0xcd, 0x18, 0xf4, 0xeb, 0xfd), // BIOS: int 18h (next boot device), then halt
    signature: BOOT_SIGNATURE,
  });
  const info = RawInfoSector.encode({
    leadSignature: INFO_LEAD_SIGNATURE,
    reserved: new Uint8Array(480),
    signature: INFO_SIGNATURE,
    freeClusters,
    nextFree: Math.min(nextFree, geometry.clusterCount + FIRST_CLUSTER - 1),
    reserved2: new Uint8Array(12),
    trailSignature: INFO_TRAIL_SIGNATURE,
  });
  return [0, BACKUP_SECTOR].flatMap((sector) => [
    { at: sector * sectorSize, source: bytesSource(boot) },
    { at: (sector + INFO_SECTOR) * sectorSize, source: bytesSource(info) },
  ]);
}

/** The volume as a source: nothing is copied before it is read. */
export function fatSource(plan: FatPlan): Source {
  return piecewiseSource(plan.size, plan.pieces);
}

export interface EmitOptions extends ReadOptions {
  /** Bytes from the start of the sink to the volume. Default: 0. */
  readonly at?: number;
}

/** Writes what is not zero, strictly forward. Zero blocks of 4 KiB inside files are left out as well. */
export async function emitFat(plan: FatPlan, sink: RandomSink, options: EmitOptions = {}): Promise<void> {
  const { at = 0 } = options;
  for (const piece of plan.pieces) {
    let position = at + piece.at;
    for await (const chunk of chunksOf(piece.source, options)) {
      for (const [start, end] of nonZeroRuns(chunk)) await sink.writeAt(position + start, chunk.subarray(start, end));
      position += chunk.length;
    }
  }
}

function* nonZeroRuns(bytes: Uint8Array): Generator<readonly [start: number, end: number]> {
  let start = -1;
  for (let at = 0; at < bytes.length; at += ALIGNMENT) {
    const zero = isZero(bytes.subarray(at, at + ALIGNMENT));
    if (zero && start >= 0) yield [start, at];
    if (zero) start = -1;
    else if (start < 0) start = at;
  }
  if (start >= 0) yield [start, bytes.length];
}
