// What QEMU's blklogwrites has recorded: the log of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst,
// drivers/md/dm-log-writes.c): a superblock, then entries of a sector each, with the data that was written behind it.
import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { openGpt } from "../../core/src/formats/gpt/index.ts";
import { bootOracle, type Started } from "./boot-oracle.ts";
import { lossesOf, singlesOf, type Write, withWrites } from "./losses.ts";
import { type DeviceEvent, type MemoryDevice, memoryDevice } from "./memory-device.ts";
import { seededRandom } from "./mutate.ts";

const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const FLUSH = 1n;
const FORCE_UNIT_ACCESS = 2n;
const DISCARD = 4n;
const MARK = 8n;

export type LogEvent = DeviceEvent | { readonly type: "discard"; readonly offset: number; readonly length: number };

/** Events in their order; a write that forces its own way to the disk is followed by a flush of all before it as well. */
export function* readWriteLog(path: string): Generator<LogEvent> {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const read = (offset: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      if (readSync(file, bytes, 0, length, offset) !== length)
        throw new Error(`${path}: ends before ${offset + length}`);
      return bytes;
    };
    const head = read(0, 28);
    if (head.readBigUInt64LE(0) !== MAGIC || head.readBigUInt64LE(8) !== VERSION)
      throw new Error(`${path}: no log of writes`);
    const count = Number(head.readBigUInt64LE(16)); // of a log that was closed in order
    const sectorSize = head.readUInt32LE(24);
    let at = sectorSize;
    for (let index = 0; index < count && at < size; index++) {
      const entry = read(at, 32);
      const flags = entry.readBigUInt64LE(16);
      const length = Number(entry.readBigUInt64LE(8)) * sectorSize;
      const offset = Number(entry.readBigUInt64LE(0)) * sectorSize;
      at += sectorSize;
      if ((flags & FLUSH) !== 0n) yield { type: "flush" };
      if ((flags & DISCARD) !== 0n) yield { type: "discard", offset, length };
      if ((flags & (DISCARD | MARK)) !== 0n) continue; // without data
      if (length > 0) yield { type: "write", offset, bytes: read(at, length) };
      at += length;
      if ((flags & FORCE_UNIT_ACCESS) !== 0n) yield { type: "flush" };
    }
  } finally {
    closeSync(file);
  }
}

/** Ways in which what is not flushed is lost at each write, of three kinds. */
const LOSSES = 16;
const CHUNK = 1024 * 1024;
const PAGE = 4096;
const ZEROS = Buffer.alloc(PAGE);

/** The pages of a disk that hold something. */
function* pagesOf(path: string): Generator<readonly [offset: number, page: Buffer]> {
  const { size } = statSync(path);
  const file = openSync(path, "r");
  try {
    for (let at = 0; at < size; at += CHUNK) {
      const bytes = Buffer.alloc(Math.min(CHUNK, size - at));
      readSync(file, bytes, 0, bytes.length, at);
      for (let within = 0; within < bytes.length; within += PAGE) {
        const page = bytes.subarray(within, within + PAGE);
        if (page.compare(ZEROS) !== 0) yield [at + within, page];
      }
    }
  } finally {
    closeSync(file);
  }
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** What is discarded reads as zeros from QEMU's file; a disk may keep it, and the replay does. */
function assertIsDisk(device: MemoryDevice, path: string, discarded: readonly Range[]): void {
  const isDiscarded = (at: number): boolean =>
    discarded.some(({ offset, length }) => at >= offset && at + PAGE <= offset + length);
  const seen = new Set<number>();
  for (const [offset, page] of pagesOf(path)) {
    seen.add(offset / PAGE);
    assert.ok(
      page.compare(device.pages.get(offset / PAGE) ?? ZEROS) === 0,
      `the log does not lead to the disk at ${offset}`,
    );
  }
  for (const [number, page] of device.pages)
    assert.ok(
      seen.has(number) || ZEROS.compare(page) === 0 || isDiscarded(number * PAGE),
      `the log does not lead to the disk at ${number * PAGE}`,
    );
}

interface Story {
  /** The disk before. */
  readonly base: string;
  readonly log: string;
  /** The disk afterwards, to which the log must lead. */
  readonly end: string;
  /** Root hashes of what ran and of what was staged. */
  readonly expected: readonly [old: string, wanted: string];
  /** At every so many points that were looked at the machine goes on; `goOn` asserts how. */
  readonly every: number;
  goOn(device: MemoryDevice, found: Started): Promise<void>;
}

/**
 * What the oracle starts at every write of a log, with what was not flushed there, or some of it, torn at sectors; each is one of
 * `expected`, and the new one has tries that end. Writes that the oracle does not look at (to /var, and to a slot that nothing on
 * the ESP leads to) are counted as the point before them.
 */
export async function cutEverywhere({ base, log, end, expected, every, goOn }: Story) {
  const { size } = statSync(base);
  const stable = memoryDevice(size);
  for (const [offset, page] of pagesOf(base)) stable.put(offset, page);
  const { partitions } = await openGpt({ size, read: (offset, length) => stable.read(offset, length) });
  const isIn = ({ offset, bytes }: Write, index: number): boolean => {
    const { start, size: length } = partitions[index]!; // ESP, three of slot A, three of slot B, /var
    return offset >= start && offset + bytes.length <= start + length;
  };
  const isAside = (write: Write): boolean => {
    const other = current === expected[0] ? [4, 5] : [1, 2];
    return [7, ...other].some((index) => isIn(write, index));
  };
  const random = seededRandom("write log");
  const counts = { events: 0, points: 0, looked: 0, old: 0, new: 0, resumed: 0 };
  async function check(device: MemoryDevice, where: string): Promise<string> {
    const boot = bootOracle(device);
    assert.ok("rootHash" in boot, `${where}: ${"why" in boot ? boot.why : ""}`);
    assert.ok(expected.includes(boot.rootHash), `${where}: ${boot.rootHash}`);
    const isOld = boot.rootHash === expected[0];
    if (!isOld) assert.match(boot.entry, /\+3\.efi$/, `${where}: started without an end of its tries`);
    counts.points++;
    counts[isOld ? "old" : "new"]++;
    if (counts.looked++ % every === 0) {
      counts.resumed++;
      await goOn(device.copy(), boot);
    }
    return boot.rootHash;
  }
  let current = await check(stable, "before");
  let pending: Write[] = [];
  const discarded: Range[] = [];
  for (const event of readWriteLog(log)) {
    if (event.type === "discard") {
      discarded.push(event);
      continue;
    }
    const where = `event ${counts.events++}`;
    const isWrite = event.type === "write";
    const decides = isWrite ? !isAside(event) : pending.some((write) => !isAside(write));
    if (!decides) counts.points++;
    else if (!isWrite)
      for (const writes of singlesOf(pending.filter((write) => !isAside(write))))
        await check(withWrites(stable, writes), `${where}, the writes before it one by one`);
    if (isWrite) pending.push(event);
    else {
      for (const { offset, bytes } of pending) stable.put(offset, bytes); // nobody holds it any more
      pending = [];
    }
    if (!decides) continue;
    const now = await check(isWrite ? withWrites(stable, pending) : stable, where);
    if (!isWrite) current = now;
    for (const writes of lossesOf(pending, random, isWrite ? LOSSES : 0))
      await check(withWrites(stable, writes), `${where}, with losses`);
  }
  for (const { offset, bytes } of pending) stable.put(offset, bytes);
  assertIsDisk(stable, end, discarded);
  return counts;
}
