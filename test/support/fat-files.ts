/**
 * Files of a FAT32 volume on a device, read and changed as Linux does it: names, chains and data are written in any order
 * until they are flushed, and a rename is a new entry and the end of the old one. A volume that lies is not looked through.
 */
import { SinkError, SourceError } from "../../core/src/errors/index.ts";
import {
  ATTRIBUTE_ARCHIVE,
  ATTRIBUTE_DIRECTORY,
  ATTRIBUTE_VOLUME,
  ATTRIBUTES_LONG_NAME,
  CLUSTER_END,
  CLUSTER_END_MIN,
  CLUSTER_FREE,
  CLUSTER_MASK,
  ENTRY_DELETED,
  ENTRY_END,
  ENTRY_SIZE,
  FIRST_CLUSTER,
  LAST_PIECE,
  RawBootSector,
  RawEntry,
  RawLongName,
  shortNameChecksum,
  UNITS_PER_PIECE,
} from "../../core/src/formats/fat/format.ts";
import { clusterOffset } from "../../core/src/formats/fat/geometry.ts";
import { parseBootSector } from "../../core/src/formats/fat/header.ts";
import { foldName, shortNames } from "../../core/src/formats/fat/names.ts";
import type { Device, EspFiles } from "../../core/src/ops/update/index.ts";

const SECTOR = 512;

interface Found {
  readonly name: string;
  /** Slots of 32 bytes in the directory: the first of the name, and how many with the short entry. */
  readonly slot: number;
  readonly slots: number;
  readonly isDirectory: boolean;
  readonly cluster: number;
  readonly size: number;
}

/** @param extent of the partition */
export async function fatFiles(
  device: Device,
  extent: { readonly start: number; readonly size: number },
): Promise<EspFiles> {
  const { start } = extent;
  const boot = await device.read(start, SECTOR);
  const header = parseBootSector(boot);
  const { fatStart, clusterSize, clusterCount, rootCluster } = header;
  const raw = RawBootSector.view(boot);
  const fatSize = raw.fatSectors * header.sectorSize;
  const end = clusterCount + FIRST_CLUSTER;
  const bytes = Uint8Array.from(await device.read(start + fatStart, end * 4));
  const fat = new Uint32Array(bytes.buffer);
  let hint = FIRST_CLUSTER;

  const chain = (first: number): number[] => {
    const clusters: number[] = [];
    for (let at = first; at >= FIRST_CLUSTER && at < end && clusters.length < clusterCount; ) {
      clusters.push(at);
      at = fat[at]! & CLUSTER_MASK;
      if (at >= CLUSTER_END_MIN) break;
    }
    return clusters;
  };
  /** Changes entries of the table, and writes the sectors of both copies that they are in. */
  async function setFat(changes: readonly (readonly [cluster: number, value: number])[]): Promise<void> {
    const sectors = new Set<number>();
    for (const [cluster, value] of changes) {
      fat[cluster] = value;
      sectors.add(Math.floor((cluster * 4) / SECTOR));
    }
    for (const sector of [...sectors].sort((a, b) => a - b))
      for (let copy = 0; copy < raw.fatCount; copy++)
        await device.writeAt(
          start + fatStart + copy * fatSize + sector * SECTOR,
          bytes.slice(sector * SECTOR, (sector + 1) * SECTOR),
        );
  }
  async function allocate(count: number): Promise<number[]> {
    const clusters: number[] = [];
    for (let i = 0; i < clusterCount && clusters.length < count; i++) {
      const at = FIRST_CLUSTER + ((hint - FIRST_CLUSTER + i) % clusterCount);
      if ((fat[at]! & CLUSTER_MASK) === CLUSTER_FREE) clusters.push(at);
    }
    if (clusters.length < count) throw new SinkError("no-space", "esp: no space left on the device");
    hint = (clusters.at(-1) ?? hint) + 1;
    await setFat(clusters.map((at, i) => [at, clusters[i + 1] ?? CLUSTER_END]));
    return clusters;
  }
  const placeOf = (cluster: number) => start + clusterOffset(header, cluster);

  async function readDirectory(cluster: number): Promise<{ bytes: Uint8Array; found: Found[] }> {
    const clusters = chain(cluster);
    const all = new Uint8Array(clusters.length * clusterSize);
    for (const [i, at] of clusters.entries()) all.set(await device.read(placeOf(at), clusterSize), i * clusterSize);
    const found: Found[] = [];
    let units: number[] = [];
    let first = -1;
    for (let slot = 0; slot < all.length / ENTRY_SIZE; slot++) {
      const at = slot * ENTRY_SIZE;
      if (all[at] === ENTRY_END) break;
      const entry = RawEntry.view(all, at);
      if (all[at] === ENTRY_DELETED) {
        first = -1;
        units = [];
      } else if (entry.attributes === ATTRIBUTES_LONG_NAME) {
        if (first < 0) first = slot;
        const piece = RawLongName.view(all, at);
        units = [...[piece.units1, piece.units2, piece.units3].flatMap(toUnits), ...units];
      } else {
        const text = Buffer.from(entry.name).toString("latin1");
        const short = [text.slice(0, 8).trimEnd(), text.slice(8).trimEnd()].filter((part) => part !== "").join(".");
        const stop = units.indexOf(0);
        const long = String.fromCharCode(...(stop < 0 ? units : units.slice(0, stop)));
        if ((entry.attributes & ATTRIBUTE_VOLUME) === 0 && short !== "." && short !== "..")
          found.push({
            name: first < 0 ? short : long,
            slot: first < 0 ? slot : first,
            slots: first < 0 ? 1 : slot - first + 1,
            isDirectory: (entry.attributes & ATTRIBUTE_DIRECTORY) !== 0,
            cluster: entry.clusterHigh * 0x10000 + entry.clusterLow,
            size: entry.size,
          });
        first = -1;
        units = [];
      }
    }
    return { bytes: all, found };
  }
  /** Writes the sectors of a directory that hold these slots. */
  async function writeSlots(cluster: number, all: Uint8Array, slot: number, count: number): Promise<void> {
    const clusters = chain(cluster);
    const first = Math.floor((slot * ENTRY_SIZE) / SECTOR);
    const last = Math.floor(((slot + count) * ENTRY_SIZE - 1) / SECTOR);
    for (let sector = first; sector <= last; sector++) {
      const at = sector * SECTOR;
      const place = placeOf(clusters[Math.floor(at / clusterSize)]!) + (at % clusterSize);
      await device.writeAt(place, all.slice(at, at + SECTOR));
    }
  }
  async function folderOf(path: string): Promise<number | undefined> {
    let cluster = rootCluster;
    for (const part of path.split("/").filter((name) => name !== "")) {
      const next = (await readDirectory(cluster)).found.find((entry) => isSame(entry.name, part));
      if (next === undefined || !next.isDirectory) return undefined;
      cluster = next.cluster;
    }
    return cluster;
  }
  function split(path: string): readonly [folder: string, name: string] {
    const at = path.lastIndexOf("/");
    return [path.slice(0, Math.max(at, 0)), path.slice(at + 1)];
  }
  async function find(path: string): Promise<Found & { readonly folder: number }> {
    const [folder, name] = split(path);
    const cluster = await folderOf(folder);
    const found =
      cluster === undefined
        ? undefined
        : (await readDirectory(cluster)).found.find((entry) => isSame(entry.name, name) && !entry.isDirectory);
    if (found === undefined || cluster === undefined) throw new SourceError("not-found", `esp: ${path} is not there`);
    return { ...found, folder: cluster };
  }
  /** An entry in the first room that there is; the directory grows where there is none. */
  async function addEntry(folder: number, name: string, cluster: number, size: number): Promise<number> {
    let { bytes: all, found } = await readDirectory(folder);
    const names = [...found.map((entry) => entry.name), name];
    const packed = Buffer.from(shortNames(names).at(-1)!.packed, "latin1");
    const pieces = Math.ceil(name.length / UNITS_PER_PIECE);
    const needed = pieces + 1;
    let slot = 0;
    for (let free = 0; free < needed; slot++) {
      if (slot * ENTRY_SIZE >= all.length) {
        const [added] = await allocate(1);
        await device.writeAt(placeOf(added!), new Uint8Array(clusterSize));
        await setFat([[chain(folder).at(-1)!, added!]]);
        ({ bytes: all } = await readDirectory(folder));
      }
      const mark = all[slot * ENTRY_SIZE];
      free = mark === ENTRY_END || mark === ENTRY_DELETED ? free + 1 : 0;
    }
    slot -= needed;
    const checksum = shortNameChecksum(packed);
    for (let piece = pieces; piece >= 1; piece--) {
      const units = Array.from({ length: UNITS_PER_PIECE }, (_, i) => {
        const at = (piece - 1) * UNITS_PER_PIECE + i;
        return at < name.length ? name.charCodeAt(at) : at === name.length ? 0 : 0xffff;
      });
      const encoded = Uint8Array.from(units.flatMap((unit) => [unit & 0xff, unit >> 8]));
      all.set(
        RawLongName.encode({
          order: piece + (piece === pieces ? LAST_PIECE : 0),
          units1: encoded.subarray(0, 10),
          attributes: ATTRIBUTES_LONG_NAME,
          type: 0,
          checksum,
          units2: encoded.subarray(10, 22),
          cluster: 0,
          units3: encoded.subarray(22, 26),
        }),
        (slot + pieces - piece) * ENTRY_SIZE,
      );
    }
    all.set(encodeShort(packed, cluster, size), (slot + pieces) * ENTRY_SIZE);
    await writeSlots(folder, all, slot, needed);
    return slot + pieces;
  }
  async function endEntry({ folder, slot, slots }: { folder: number; slot: number; slots: number }): Promise<void> {
    const { bytes: all } = await readDirectory(folder);
    for (let i = slot; i < slot + slots; i++) all[i * ENTRY_SIZE] = ENTRY_DELETED;
    await writeSlots(folder, all, slot, slots);
  }

  const files: EspFiles = {
    name: "esp",
    async list(folder) {
      const cluster = await folderOf(folder);
      if (cluster === undefined) return [];
      return (await readDirectory(cluster)).found
        .filter(({ isDirectory }) => !isDirectory)
        .map(({ name, size }) => ({ name, size }));
    },
    async open(path) {
      const { cluster, size } = await find(path);
      const clusters = chain(cluster);
      return {
        size,
        async read(offset, length) {
          const whole = new Uint8Array(length);
          for (let at = offset; at < offset + length; ) {
            const part = Math.min(clusterSize - (at % clusterSize), offset + length - at);
            const there = clusters[Math.floor(at / clusterSize)];
            if (there === undefined) throw new SourceError("io-error", `esp: ${path}: input/output error`);
            whole.set(await device.read(placeOf(there) + (at % clusterSize), part), at - offset);
            at += part;
          }
          return whole;
        },
        close: async () => {},
      };
    },
    async write(path, content, { signal, onProgress, from = 0 } = {}) {
      const [folder, name] = split(path);
      const cluster = await folderOf(folder);
      if (cluster === undefined) throw new SourceError("not-found", `esp: ${folder} is not there`);
      const exists = (await files.list(folder)).some((file) => isSame(file.name, name));
      if (exists && from === 0) await files.remove(path);
      if (!exists || from === 0) await addEntry(cluster, name, 0, 0); // as Linux makes a file: empty at first
      const { slot, slots, cluster: first, size: there } = await find(path);
      if (from > there) throw new RangeError(`esp: ${path} has ${there} bytes, not ${from}`);
      const clusters = chain(first).slice(0, Math.ceil(from / clusterSize));
      const needed = Math.ceil(content.size / clusterSize);
      const last = clusters.at(-1);
      const more = await allocate(Math.max(0, needed - clusters.length));
      if (last !== undefined && more[0] !== undefined) await setFat([[last, more[0]]]);
      clusters.push(...more);
      const setSize = async (size: number): Promise<void> => {
        const { bytes: all } = await readDirectory(cluster);
        const at = (slot + slots - 1) * ENTRY_SIZE;
        all.set(encodeShort(all.slice(at, at + 11), clusters[0] ?? 0, size), at);
        await writeSlots(cluster, all, slot + slots - 1, 1);
      };
      let position = from;
      try {
        for (; position < content.size; ) {
          signal?.throwIfAborted();
          // As much as lies in a row, up to 64 KiB, and to the end of its last cluster.
          const index = Math.floor(position / clusterSize);
          let row = 1;
          while (row * clusterSize < 65_536 && clusters[index + row] === clusters[index]! + row) row++;
          const within = position % clusterSize;
          const part = Math.min(row * clusterSize - within, content.size - position);
          const place = placeOf(clusters[index]!);
          const padded = new Uint8Array(Math.ceil((within + part) / clusterSize) * clusterSize);
          if (within > 0) padded.set(await device.read(place, clusterSize));
          padded.set(await content.read(position, part), within);
          await device.writeAt(place, padded);
          position += part;
          onProgress?.(part);
        }
      } finally {
        await setSize(position);
      }
    },
    async overwrite(path, offset, content) {
      const { cluster } = await find(path);
      const clusters = chain(cluster);
      for (let at = offset; at < offset + content.length; ) {
        // As Linux writes a file: the sectors that changed.
        const place = placeOf(clusters[Math.floor(at / clusterSize)]!) + (at % clusterSize);
        const within = place % SECTOR;
        const part = Math.min(SECTOR - within, offset + content.length - at);
        const sector = Uint8Array.from(await device.read(place - within, SECTOR));
        sector.set(content.subarray(at - offset, at - offset + part), within);
        await device.writeAt(place - within, sector);
        at += part;
      }
    },
    async rename(from, to) {
      const old = await find(from);
      const [folder, name] = split(to);
      if ((await files.list(folder)).some((file) => isSame(file.name, name)))
        throw new SinkError("exists", `esp: ${to} is there already`);
      await addEntry(old.folder, name, old.cluster, old.size);
      await endEntry(old);
    },
    async remove(path) {
      const old = await find(path);
      await endEntry(old);
      await setFat(chain(old.cluster).map((at) => [at, CLUSTER_FREE]));
    },
    flush: () => device.flush(),
    async free() {
      let free = 0;
      for (let at = FIRST_CLUSTER; at < end; at++) if ((fat[at]! & CLUSTER_MASK) === CLUSTER_FREE) free++;
      return free * clusterSize;
    },
  };
  return files;
}

function toUnits(field: Uint8Array): number[] {
  return Array.from({ length: field.length / 2 }, (_, i) => field[2 * i]! | (field[2 * i + 1]! << 8));
}

function isSame(a: string, b: string): boolean {
  return foldName(a) === foldName(b);
}

function encodeShort(name: Uint8Array, cluster: number, size: number): Uint8Array {
  return RawEntry.encode({
    name,
    attributes: ATTRIBUTE_ARCHIVE,
    caseFlags: 0,
    createdTenths: 0,
    createdTime: 0,
    createdDate: 0x21,
    accessedDate: 0x21,
    clusterHigh: Math.floor(cluster / 0x10000),
    writtenTime: 0,
    writtenDate: 0x21,
    clusterLow: cluster % 0x10000,
    size,
  });
}
