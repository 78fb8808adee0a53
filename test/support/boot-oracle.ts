/**
 * What a machine would start from a disk, written from the specifications and apart from the code under test: UEFI 2.10 chapter
 * 5 (a primary table that is not valid gives way to the backup), fatgen103 as firmware reads it (the first FAT, no checks),
 * UAPI.1 and systemd-boot(7) (which entry), PE, dm-verity (every block of data and tree under the root hash).
 */
import { createHash } from "node:crypto";
import { compareVersions } from "../../core/src/ops/release/compare-versions.ts";
import type { MemoryDevice } from "./memory-device.ts";

export interface Started {
  readonly entry: string;
  readonly rootHash: string;
  readonly ukiDigest: string;
}

/** What boots, or why nothing does. */
export type Boot = Started | { readonly why: string };

interface Partition {
  readonly type: string;
  readonly uuid: string;
  readonly start: number;
  readonly size: number;
}

const ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const PAGE = 4096;
const ZERO_PAGE = Buffer.alloc(PAGE);

const crcTable = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});
function crc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = crcTable[(c ^ byte) & 0xff]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function reader(device: MemoryDevice) {
  return (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
      const within = (offset + at) % PAGE;
      const part = Math.min(PAGE - within, length - at);
      const page = device.pages.get(Math.floor((offset + at) / PAGE));
      if (page !== undefined) bytes.set(page.subarray(within, within + part), at);
      at += part;
    }
    return bytes;
  };
}
type Read = ReturnType<typeof reader>;

function guid(bytes: Buffer, at: number): string {
  const order = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15];
  return order.map((i) => (i < 0 ? "-" : bytes[at + i]!.toString(16).padStart(2, "0"))).join("");
}

function table(read: Read, lba: number): Partition[] | undefined {
  const header = read(lba * 512, 512);
  if (header.toString("latin1", 0, 8) !== "EFI PART") return undefined;
  const size = header.readUInt32LE(12);
  if (size < 92 || size > 512) return undefined;
  const expected = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  if (crc(header.subarray(0, size)) !== expected || Number(header.readBigUInt64LE(24)) !== lba) return undefined;
  const [count, entrySize] = [header.readUInt32LE(80), header.readUInt32LE(84)];
  const entries = read(Number(header.readBigUInt64LE(72)) * 512, count * entrySize);
  if (crc(entries) !== header.readUInt32LE(88)) return undefined;
  const partitions: Partition[] = [];
  for (let at = 0; at < entries.length; at += entrySize) {
    if (entries.subarray(at, at + 16).every((byte) => byte === 0)) continue;
    const [first, last] = [Number(entries.readBigUInt64LE(at + 32)), Number(entries.readBigUInt64LE(at + 40))];
    partitions.push({
      type: guid(entries, at),
      uuid: guid(entries, at + 16),
      start: first * 512,
      size: (last - first + 1) * 512,
    });
  }
  return partitions;
}

interface File {
  readonly name: string;
  readonly isFolder: boolean;
  readonly cluster: number;
  readonly size: number;
}

/** Undefined for what cannot be read: a chain that ends too early. */
type Volume = { list(cluster: number): File[]; content(file: File): Buffer | undefined; readonly root: number };

function fatVolume(read: Read, start: number): Volume {
  const boot = read(start, 512);
  const clusterSize = boot.readUInt16LE(11) * boot[13]!;
  const fatStart = start + boot.readUInt16LE(14) * boot.readUInt16LE(11);
  const fatSize = boot.readUInt32LE(36) * boot.readUInt16LE(11);
  const dataStart = fatStart + boot[16]! * fatSize;
  const place = (cluster: number) => dataStart + (cluster - 2) * clusterSize;
  const next = (cluster: number) => read(fatStart + cluster * 4, 4).readUInt32LE(0) & 0x0fffffff;
  function chain(first: number, most: number): number[] {
    const clusters: number[] = [];
    for (let at = first; at >= 2 && at < 0x0ffffff7 && clusters.length < most; at = next(at)) clusters.push(at);
    return clusters;
  }
  const bytesOf = (clusters: readonly number[]) => Buffer.concat(clusters.map((at) => read(place(at), clusterSize)));
  return {
    root: boot.readUInt32LE(44),
    list(cluster) {
      const bytes = bytesOf(chain(cluster, 512));
      const files: File[] = [];
      let pieces: { order: number; sum: number; text: string }[] = [];
      for (let at = 0; at + 32 <= bytes.length && bytes[at] !== 0; at += 32) {
        const entry = bytes.subarray(at, at + 32);
        if (entry[0] === 0xe5) {
          pieces = [];
          continue;
        }
        if ((entry[11]! & 0x3f) === 0x0f) {
          const text = [entry.subarray(1, 11), entry.subarray(14, 26), entry.subarray(28, 32)]
            .map((part) => part.toString("utf16le"))
            .join("");
          pieces.push({ order: entry[0]!, sum: entry[13]!, text });
          continue;
        }
        let sum = 0;
        for (let i = 0; i < 11; i++) sum = (((sum & 1) << 7) + (sum >> 1) + entry[i]!) & 0xff;
        const isWhole =
          pieces.length > 0 &&
          pieces.every((piece, i) => piece.sum === sum && piece.order === pieces.length - i + (i === 0 ? 0x40 : 0));
        const short = [entry.toString("latin1", 0, 8).trimEnd(), entry.toString("latin1", 8, 11).trimEnd()];
        const long = pieces
          .map(({ text }) => text)
          .reverse()
          .join("")
          .split("\0")[0]!;
        pieces = [];
        if ((entry[11]! & 0x08) !== 0) continue;
        files.push({
          name: isWhole ? long : short.filter((part) => part !== "").join("."),
          isFolder: (entry[11]! & 0x10) !== 0,
          cluster: entry.readUInt16LE(20) * 65536 + entry.readUInt16LE(26),
          size: entry.readUInt32LE(28),
        });
      }
      return files;
    },
    content({ cluster, size }) {
      const clusters = chain(cluster, Math.ceil(size / clusterSize));
      if (clusters.length < Math.ceil(size / clusterSize)) return undefined;
      return bytesOf(clusters).subarray(0, size);
    },
  };
}

function section(pe: Buffer, wanted: string): Buffer | undefined {
  if (pe.length < 64 || pe.toString("latin1", 0, 2) !== "MZ") return undefined;
  const at = pe.readUInt32LE(60);
  if (at + 24 > pe.length || pe.toString("latin1", at, at + 4) !== "PE\0\0") return undefined;
  const [count, optional] = [pe.readUInt16LE(at + 6), pe.readUInt16LE(at + 20)];
  for (let i = 0; i < count; i++) {
    const header = pe.subarray(at + 24 + optional + i * 40, at + 24 + optional + (i + 1) * 40);
    if (header.length < 40 || header.toString("latin1", 0, 8).replace(/\0+$/, "") !== wanted) continue;
    const [size, offset] = [header.readUInt32LE(8), header.readUInt32LE(20)];
    return pe.subarray(offset, offset + size);
  }
  return undefined;
}

interface Entry {
  readonly name: string;
  readonly left: number | undefined;
  readonly done: number;
  readonly sortKey: string;
  readonly version: string;
  readonly commandLine: string;
  readonly content: Buffer;
}

function entryOf(name: string, content: Buffer): Entry | undefined {
  const osrel = section(content, ".osrel")?.toString();
  const commandLine = section(content, ".cmdline")?.toString();
  if (osrel === undefined || commandLine === undefined) return undefined;
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(osrel)?.[1];
  const counter = /\+([0-9]+)(?:-([0-9]+))?\.efi$/i.exec(name);
  return {
    name,
    left: counter === null ? undefined : Number(counter[1]),
    done: Number(counter?.[2] ?? 0),
    sortKey: value("IMAGE_ID") ?? value("ID") ?? "",
    version: value("IMAGE_VERSION") ?? value("VERSION_ID") ?? "",
    commandLine,
    content,
  };
}

function compare(a: Entry, b: Entry): number {
  if ((a.left === 0) !== (b.left === 0)) return a.left === 0 ? 1 : -1;
  if (a.sortKey !== b.sortKey) return a.sortKey < b.sortKey ? -1 : 1;
  const order = -compareVersions(a.version, b.version) || -compareVersions(a.name.toLowerCase(), b.name.toLowerCase());
  if (order !== 0 || a.left === undefined || b.left === undefined) return order;
  return b.left - a.left || a.done - b.done;
}

/** Digests of pages by salt: pages of devices that are copies of each other are the same objects. */
const pageDigests = new Map<string, WeakMap<Uint8Array, string>>();

function hashPage(device: MemoryDevice, place: number, salt: Buffer): string {
  const page = device.pages.get(place / PAGE) ?? ZERO_PAGE;
  const key = salt.toString("hex");
  const known = pageDigests.get(key) ?? new WeakMap<Uint8Array, string>();
  pageDigests.set(key, known);
  const digest = known.get(page) ?? createHash("sha256").update(salt).update(page).digest("hex");
  known.set(page, digest);
  return digest;
}

/** Why the pair of partitions is not a root with this hash; undefined where it is. */
function verify(
  device: MemoryDevice,
  read: Read,
  root: Partition,
  verity: Partition,
  rootHash: string,
): string | undefined {
  const head = read(verity.start, 512);
  if (head.toString("latin1", 0, 8) !== "verity\0\0") return "no hash device";
  const [dataSize, hashSize] = [head.readUInt32LE(64), head.readUInt32LE(68)];
  if (dataSize !== PAGE || hashSize !== PAGE) return "other blocks";
  const blocks = Number(head.readBigUInt64LE(72));
  const salt = head.subarray(88, 88 + head.readUInt16LE(80));
  if (blocks * PAGE > root.size) return "too many blocks";
  const levels: number[] = [];
  for (let count = blocks; count > 1; ) {
    count = Math.ceil(count / 128);
    levels.push(count);
  }
  let digests = Array.from({ length: blocks }, (_, i) => hashPage(device, root.start + i * PAGE, salt));
  let end = 1 + levels.reduce((sum, count) => sum + count, 0);
  for (const count of levels) {
    const first = end - count;
    end = first;
    const stored = read(verity.start + first * PAGE, count * PAGE);
    for (const [i, digest] of digests.entries())
      if (stored.toString("hex", i * 32, (i + 1) * 32) !== digest) return `block ${i} of a level`;
    digests = Array.from({ length: count }, (_, i) => hashPage(device, verity.start + (first + i) * PAGE, salt));
  }
  return digests[0] === rootHash ? undefined : "another root hash";
}

/** @param entry started instead of the first of the menu */
export function bootOracle(device: MemoryDevice, entry?: (name: string) => boolean): Boot {
  const read = reader(device);
  const partitions = table(read, 1) ?? table(read, device.size / 512 - 1);
  if (partitions === undefined) return { why: "no partition table" };
  const esp = partitions.find(({ type }) => type === ESP);
  if (esp === undefined) return { why: "no ESP" };
  const volume = fatVolume(read, esp.start);
  let cluster: number | undefined = volume.root;
  for (const part of ["EFI", "Linux"])
    if (cluster !== undefined)
      cluster = volume
        .list(cluster)
        .find(({ name, isFolder }) => isFolder && name.toUpperCase() === part.toUpperCase())?.cluster;
  if (cluster === undefined) return { why: "no folder of entries" };
  const entries: Entry[] = [];
  for (const file of volume.list(cluster)) {
    if (file.isFolder || file.name.startsWith(".") || !/\.efi$/i.test(file.name)) continue;
    const content = volume.content(file);
    const found = content === undefined ? undefined : entryOf(file.name, content);
    if (found !== undefined) entries.push(found);
  }
  const chosen = entries.toSorted(compare).find(({ name }) => entry === undefined || entry(name));
  if (chosen === undefined) return { why: "no entry" };
  const rootHash = /(?:^| )roothash=([0-9a-f]{64})(?: |$)/.exec(chosen.commandLine)?.[1];
  if (rootHash === undefined) return { why: `${chosen.name}: no root hash` };
  const uuidOf = (hex: string) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  const find = (hex: string) => partitions.filter(({ uuid }) => uuid === uuidOf(hex));
  const [roots, verities] = [find(rootHash.slice(0, 32)), find(rootHash.slice(32))];
  if (roots.length !== 1 || verities.length !== 1) return { why: `${chosen.name}: its partitions are not there` };
  const wrong = verify(device, read, roots[0]!, verities[0]!, rootHash);
  if (wrong !== undefined) return { why: `${chosen.name}: ${wrong}` };
  return { entry: chosen.name, rootHash, ukiDigest: createHash("sha256").update(chosen.content).digest("hex") };
}
