/**
 * Mends what a power cut leaves of a FAT32 volume that was being changed: two names of one file (a rename that was half
 * written), files whose chain ends too early, chains that nothing names, a directory that was growing, copies of the table that
 * differ, the mark of a volume that is in use. Nobody may have it mounted. Left alone, the first of these turns into lost data
 * when one of the two names is removed.
 */
import { FormatError } from "../../errors/index.ts";
import type { RandomSink, ReadOptions, Source } from "../../source/index.ts";
import { decodeEntries } from "./entries.ts";
import {
  ATTRIBUTE_DIRECTORY,
  ATTRIBUTE_VOLUME,
  ATTRIBUTES_LONG_NAME,
  CLUSTER_BAD,
  CLUSTER_END,
  CLUSTER_END_MIN,
  CLUSTER_FREE,
  CLUSTER_MASK,
  ENTRY_DELETED,
  ENTRY_END,
  ENTRY_SIZE,
  FIRST_CLUSTER,
  LONG_NAME_MASK,
  MAX_DIRECTORY_SIZE,
  RawBootSector,
  RawEntry,
  RawInfoSector,
} from "./format.ts";
import { clusterOffset } from "./geometry.ts";
import { parseBootSector } from "./header.ts";

/** What is mended: a partition of a device. */
export interface FatMedium extends Source, RandomSink {
  flush(): Promise<void>;
}

export interface MendPolicy {
  /** Of two names of one file: whether `path` goes, and not `other`. */
  dropsAlias(path: string, other: string): boolean;
  /** Whether a file whose chain is broken goes; others are left and told. */
  dropsBroken(path: string): boolean;
}

export interface MendReport {
  /** Names that are gone. */
  readonly removed: readonly string[];
  /** Clusters that belonged to nothing. */
  readonly freed: number;
  /** What is wrong and was left. */
  readonly damaged: readonly string[];
}

/** Files and directories that are looked at. An ESP has tens. */
const MAX_ENTRIES = 1 << 16;
/** The table is read and written in pieces of this many bytes, and so is the rest of the volume's upkeep. */
const SECTOR = 512;
/** Of the boot sector's `dirty`. */
const DIRTY = 1;

interface Named {
  readonly path: string;
  readonly isDirectory: boolean;
  readonly first: number;
  readonly size: number;
  /** Bytes from the start of the volume: of its entries, long name included. */
  readonly slots: readonly number[];
}

/**
 * What mending would do; nothing is written. Of a volume that is mounted, clusters that are only freed once a file is closed
 * count too. Errors: as {@link mendFat}.
 */
export function checkFat(volume: Source, policy: MendPolicy, options: ReadOptions = {}): Promise<MendReport> {
  const nothing = async (): Promise<void> => {};
  const read = (offset: number, length: number, more?: ReadOptions) => volume.read(offset, length, more);
  return mendFat({ size: volume.size, read, writeAt: nothing, flush: nothing }, policy, options);
}

/** Throws FormatError `fat-chain` for a directory that cannot be read; then nothing is changed. */
export async function mendFat(volume: FatMedium, policy: MendPolicy, options: ReadOptions = {}): Promise<MendReport> {
  const boot = await volume.read(0, RawBootSector.size, options);
  const header = parseBootSector(boot);
  const { fatStart, clusterCount, clusterSize, rootCluster } = header;
  const end = clusterCount + FIRST_CLUSTER;
  const bytes = Uint8Array.from(await volume.read(fatStart, end * 4, options));
  const view = new DataView(bytes.buffer);
  const next = (cluster: number) => view.getUint32(cluster * 4, true) & CLUSTER_MASK;

  /** Clusters up to the end mark or `limit`; `isWhole` where there are as many as needed. */
  function follow(first: number, limit: number, needsAll: boolean) {
    const clusters: number[] = [];
    for (let at = first; clusters.length < limit; at = next(at)) {
      if (at >= CLUSTER_END_MIN) return { clusters, isWhole: !needsAll };
      if (at < FIRST_CLUSTER || at >= end || next(at) === CLUSTER_FREE) return { clusters, isWhole: false };
      clusters.push(at);
    }
    return { clusters, isWhole: needsAll };
  }

  /** A directory that was growing ends where the table says so: the cluster that it leads to is not its own yet. */
  function followDirectory(first: number) {
    const found = follow(first, MAX_DIRECTORY_SIZE / clusterSize, false);
    const last = found.clusters.at(-1);
    if (found.isWhole || last === undefined) return found;
    const added = next(last);
    if (added < FIRST_CLUSTER || added >= end || next(added) !== CLUSTER_FREE) return found;
    view.setUint32(last * 4, CLUSTER_END, true);
    return { ...found, isWhole: true };
  }

  const owner = new Map<number, Named>(); // of first clusters
  const used = new Uint8Array(end);
  const removed: Named[] = [];
  const damaged: string[] = [];
  const broken: Named[] = [];
  const sound: { readonly named: Named; readonly clusters: readonly number[] }[] = [];

  const pending: { readonly path: string; readonly first: number }[] = [{ path: "", first: rootCluster }];
  let count = 0;
  for (let directory = pending.shift(); directory !== undefined; directory = pending.shift()) {
    options.signal?.throwIfAborted();
    const { clusters, isWhole } = followDirectory(directory.first);
    const isTwice = clusters.some((cluster) => used[cluster] === 1);
    if (!isWhole || clusters.length === 0 || isTwice)
      throw new FormatError("fat-chain", `/${directory.path}: the chain of the directory is broken`, {
        path: directory.path,
      });
    for (const cluster of clusters) used[cluster] = 1;
    for await (const named of namesIn(directory.path, clusters)) {
      if (++count > MAX_ENTRIES) throw new FormatError("fat-entries", `more than ${MAX_ENTRIES} files`);
      if (named.isDirectory) pending.push({ path: named.path, first: named.first });
      else take(named);
    }
  }

  async function* namesIn(path: string, clusters: readonly number[]): AsyncGenerator<Named> {
    const content = new Uint8Array(clusters.length * clusterSize);
    for (const [i, cluster] of clusters.entries())
      content.set(await volume.read(clusterOffset(header, cluster), clusterSize, options), i * clusterSize);
    const placeOf = (slot: number) => {
      const at = slot * ENTRY_SIZE;
      return clusterOffset(header, clusters[Math.floor(at / clusterSize)]!) + (at % clusterSize); // slots are in clusters
    };
    let long: number[] = [];
    for (let slot = 0; (slot + 1) * ENTRY_SIZE <= content.length; slot++) {
      const at = slot * ENTRY_SIZE;
      if (content[at] === ENTRY_END) return;
      const raw = RawEntry.view(content, at);
      if (content[at] === ENTRY_DELETED) long = [];
      else if ((raw.attributes & LONG_NAME_MASK) === ATTRIBUTES_LONG_NAME) long.push(slot);
      else {
        const slots = [...long, slot];
        long = [];
        if ((raw.attributes & ATTRIBUTE_VOLUME) !== 0) continue;
        const part = content.subarray(slots[0]! * ENTRY_SIZE, (slot + 1) * ENTRY_SIZE); // there is one
        for (const { name } of decodeEntries(part, path))
          yield {
            path: path === "" ? name : `${path}/${name}`,
            isDirectory: (raw.attributes & ATTRIBUTE_DIRECTORY) !== 0,
            first: raw.clusterHigh * 0x10000 + raw.clusterLow,
            size: raw.size,
            slots: slots.map(placeOf),
          };
      }
    }
  }

  function take(named: Named): void {
    if (named.size === 0 && named.first === 0) return;
    const { clusters, isWhole } = follow(named.first, Math.max(1, Math.ceil(named.size / clusterSize)), true);
    if (!isWhole) {
      broken.push(named);
      return;
    }
    const other = owner.get(named.first);
    if (other !== undefined) {
      const isNamed = policy.dropsAlias(named.path, other.path);
      removed.push(isNamed ? named : other);
      if (!isNamed) owner.set(named.first, named);
      return;
    }
    owner.set(named.first, named);
    sound.push({ named, clusters });
  }

  for (const { named, clusters } of sound) {
    if (clusters.some((cluster) => used[cluster] === 1))
      damaged.push(`${named.path}: shares clusters with something else`);
    // What a chain has behind the size of its file belongs to it too.
    for (const cluster of follow(named.first, end, false).clusters) used[cluster] = 1;
  }
  for (const named of broken)
    if (policy.dropsBroken(named.path)) removed.push(named);
    else damaged.push(`${named.path}: its chain ends too early`);

  // The short name first: alone it would be a name of the file too. A chain is free only once nothing names it.
  await endSlots(removed.flatMap(({ slots }) => slots.slice(-1)));
  await endSlots(removed.flatMap(({ slots }) => slots.slice(0, -1)));

  const freed = damaged.length > 0 ? 0 : freeUnused();
  const isChanged = await writeTables();
  if (isChanged) await volume.flush();
  if (damaged.length === 0) await markClean();
  return { removed: removed.map(({ path }) => path), freed, damaged };

  async function endSlots(slots: readonly number[]): Promise<void> {
    const sectors = new Map<number, Uint8Array>();
    for (const slot of slots) {
      const at = slot - (slot % SECTOR);
      const sector = sectors.get(at) ?? Uint8Array.from(await volume.read(at, SECTOR, options));
      sector[slot - at] = ENTRY_DELETED;
      sectors.set(at, sector);
    }
    for (const [at, sector] of sectors) await volume.writeAt(at, sector);
    if (sectors.size > 0) await volume.flush();
  }

  /** Last, when there is nothing left that another program should look for. */
  async function markClean(): Promise<void> {
    const { dirty } = RawBootSector.view(boot);
    if ((dirty & DIRTY) === 0) return;
    const sector = Uint8Array.from(boot);
    sector[RawBootSector.fields.dirty.offset] = dirty & ~DIRTY;
    await volume.writeAt(0, sector);
    await volume.flush();
  }

  function freeUnused(): number {
    let lost = 0;
    for (let cluster = FIRST_CLUSTER; cluster < end; cluster++) {
      if (used[cluster] === 1 || next(cluster) === CLUSTER_FREE || next(cluster) === CLUSTER_BAD) continue;
      view.setUint32(cluster * 4, 0, true);
      lost++;
    }
    return lost;
  }

  /** All copies of the table as they are in memory, and the number of free clusters. */
  async function writeTables(): Promise<boolean> {
    const raw = RawBootSector.view(boot);
    const fatSize = raw.fatSectors * header.sectorSize;
    const isMirrored = (raw.extendedFlags & 0x80) === 0;
    const copies = isMirrored ? raw.fatCount : 1;
    let isWritten = false;
    const bring = async (at: number, wanted: Uint8Array): Promise<void> => {
      const there = await volume.read(at, wanted.length, options);
      for (let from = 0; from < wanted.length; from += SECTOR) {
        const part = wanted.subarray(from, from + SECTOR);
        if (part.every((byte, i) => byte === there[from + i])) continue;
        await volume.writeAt(at + from, part);
        isWritten = true;
      }
    };
    for (let copy = 0; copy < copies; copy++) await bring(fatStart + copy * fatSize, bytes);
    let free = 0;
    for (let cluster = FIRST_CLUSTER; cluster < end; cluster++) if (next(cluster) === CLUSTER_FREE) free++;
    if (isWritten && raw.infoSector !== 0 && raw.infoSector !== 0xffff) {
      const at = raw.infoSector * header.sectorSize;
      const info = Uint8Array.from(await volume.read(at, RawInfoSector.size, options));
      const { freeClusters } = RawInfoSector.fields;
      new DataView(info.buffer).setUint32(freeClusters.offset, free, true);
      await bring(at, info);
    }
    return isWritten;
  }
}
