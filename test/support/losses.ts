// What a power cut takes: of the writes that were not flushed any may be there, in any order, and the last ones in part.
import type { DeviceEvent, MemoryDevice } from "./memory-device.ts";
import type { Random } from "./mutate.ts";

export type Write = Extract<DeviceEvent, { type: "write" }>;

const SECTOR = 512;
/** How many of the last writes before a flush are looked at one by one: names and tables are among them. */
const LAST = 12;

/** A part of a write, in whole sectors; of a single one all or nothing. */
function torn(write: Write, random: Random): Write[] {
  const sectors = Math.ceil(write.bytes.length / SECTOR);
  if (sectors <= 1) return random.below(2) === 0 ? [] : [write];
  const from = random.below(sectors);
  const to = from + random.below(sectors - from + 1);
  return [{ ...write, offset: write.offset + from * SECTOR, bytes: write.bytes.subarray(from * SECTOR, to * SECTOR) }];
}

/** `count` times: some of the writes are lost; the last one is torn; any are lost or torn. */
export function* lossesOf(pending: readonly Write[], random: Random, count: number): Generator<readonly Write[]> {
  for (let i = 0; i < count; i++) {
    yield pending.filter(() => random.below(2) === 0);
    yield [...pending.slice(0, -1), ...pending.slice(-1).flatMap((write) => torn(write, random))];
    yield pending.flatMap((write) =>
      random.below(3) === 0 ? torn(write, random) : random.below(4) === 0 ? [] : [write],
    );
  }
}

/** Each of the last writes alone, and all but each. */
export function* singlesOf(pending: readonly Write[]): Generator<readonly Write[]> {
  for (const write of pending.slice(-LAST)) {
    yield [write];
    yield pending.filter((one) => one !== write);
  }
}

/** The disk with these writes on it. */
export function withWrites(stable: MemoryDevice, writes: readonly Write[]): MemoryDevice {
  const device = stable.copy();
  for (const { offset, bytes } of writes) device.put(offset, bytes);
  return device;
}
