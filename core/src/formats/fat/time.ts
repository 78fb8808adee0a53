/** Times on FAT: two seconds (ten milliseconds at creation) from 1980 to 2107. Ours are UTC. */

export interface FatTime {
  readonly date: number;
  readonly time: number;
  /** Units of 10 ms past `time`, 0 to 199. */
  readonly tenths: number;
}

const EARLIEST = /* @__PURE__ */ Date.UTC(1980, 0, 1); // milliseconds
const LATEST = /* @__PURE__ */ Date.UTC(2107, 11, 31, 23, 59, 59, 990);

/** @param time nanoseconds since 1970; clamped to what FAT has */
export function encodeFatTime(time: bigint): FatTime {
  const clamped = Number(time / 1_000_000n < BigInt(EARLIEST) ? BigInt(EARLIEST) : time / 1_000_000n);
  const date = new Date(Math.min(clamped, LATEST));
  const seconds = date.getUTCSeconds();
  return {
    date: ((date.getUTCFullYear() - 1980) << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate(),
    time: (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (seconds >> 1),
    tenths: (seconds & 1) * 100 + Math.floor(date.getUTCMilliseconds() / 10),
  };
}

/** Nanoseconds since 1970. A date of 0 (never set) is 1980-01-01; fields out of range carry over as the calendar says. */
export function decodeFatTime(date: number, time: number): bigint {
  if (date === 0) return BigInt(EARLIEST) * 1_000_000n;
  const milliseconds = Date.UTC(
    1980 + (date >> 9),
    ((date >> 5) & 15) - 1,
    date & 31,
    time >> 11,
    (time >> 5) & 63,
    (time & 31) * 2,
  );
  return BigInt(milliseconds) * 1_000_000n;
}
