import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "../../errors/index.ts";
import { nodeHashes } from "../../node/index.ts";
import { isInside, nextCheck, nextOpening, parseWindow, utcWallClock, type WallClock } from "./schedule.ts";

const at = (text: string) => Date.parse(text);
const shown = (time: number | undefined) =>
  time === undefined ? undefined : new Date(time).toISOString().slice(0, 16);

/** Of a place where the clock is changed; Node knows the rules, as the device's own does. */
function wallClockOf(timeZone: string): WallClock {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].indexOf(parts.get("weekday") ?? "");
    return { weekday, minutes: Number(parts.get("hour")) * 60 + Number(parts.get("minute")) };
  };
}

test("windows are read, and what is none is refused", () => {
  const week = (text: string) => [...text].map((day) => day !== "-");
  assert.deepEqual(parseWindow("02:00-05:30"), { days: week("SMTWTFS"), start: 120, end: 330 });
  assert.deepEqual(parseWindow("sat,Sun 1:00 - 24:00"), { days: week("S-----S"), start: 60, end: 1440 });
  assert.deepEqual(parseWindow("Fri..Mon,Wed 22:00-04:00"), { days: week("SM-W-FS"), start: 1320, end: 240 });
  for (const text of [
    "",
    "02:00",
    "25:00-26:00",
    "24:30-25:00",
    "02:60-03:00",
    "2-3",
    "24:00-01:00",
    "02:00-02:00",
    "Foo 02:00-03:00",
    "Mon..Tue..Wed 02:00-03:00",
    "Mon, 02:00-03:00",
    "Mon 02:00-03:00 x",
    "\u202e02:00-03:00",
  ])
    assert.throws(
      () => parseWindow(text),
      (error) => error instanceof FormatError && error.code === "bad-window",
      text,
    );
});

test("a window past midnight is of the day it begins on", () => {
  const windows = [parseWindow("Fri 22:00-04:00")];
  const inside = (text: string) => isInside(windows, utcWallClock(at(text)));
  assert.deepEqual(
    ["2026-11-27T21:59Z", "2026-11-27T22:00Z", "2026-11-28T03:59Z", "2026-11-28T04:00Z", "2026-11-27T03:00Z"].map(
      inside,
    ),
    [false, true, true, false, false],
  );
});

test("the next opening is the first minute inside", () => {
  const windows = [parseWindow("Sat 02:00-05:00")];
  assert.equal(shown(nextOpening(windows, at("2026-11-23T10:00:30Z"), utcWallClock)), "2026-11-28T02:00");
  assert.equal(nextOpening([], 5, utcWallClock), 5);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 6 }),
      fc.integer({ min: 0, max: 1439 }),
      fc.integer({ min: 0, max: 1440 }),
      fc.integer({ min: 0, max: 4_000_000_000_000 }),
      (day, start, end, now) => {
        fc.pre(start !== end);
        const window = { days: [0, 1, 2, 3, 4, 5, 6].map((other) => other === day), start, end };
        const opening = nextOpening([window], now, utcWallClock);
        assert.ok(opening !== undefined && opening >= now && opening <= now + 7 * 86_400_000);
        assert.ok(isInside([window], utcWallClock(opening)));
        if (opening > now) assert.ok(!isInside([window], utcWallClock(opening - 1)));
      },
    ),
    { numRuns: 50 },
  );
});

test("in the night when an hour is left out the window is missed, not moved; when one comes twice it is open twice", () => {
  const berlin = wallClockOf("Europe/Berlin"); // 2026-03-29 02:00 → 03:00, 2026-10-25 03:00 → 02:00
  const windows = [parseWindow("Sun 02:15-02:45")];
  assert.equal(shown(nextOpening(windows, at("2026-03-28T12:00Z"), berlin)), "2026-04-05T00:15");
  assert.equal(shown(nextOpening(windows, at("2026-10-25T00:45Z"), berlin)), "2026-10-25T01:15");
});

test("looks are an interval apart and late by less than the jitter, each machine and each time by another share", () => {
  const times = { now: 10_000_000, startedAt: 0, interval: 1_000_000, jitter: 500_000 };
  const delays = new Set<number>();
  for (let machine = 0; machine < 200; machine++) {
    const lastCheck = 9_500_000 + (machine % 2);
    const next = nextCheck({ ...times, lastCheck, key: `machine ${machine >> 1}` }, nodeHashes);
    assert.equal(next, nextCheck({ ...times, lastCheck, key: `machine ${machine >> 1}` }, nodeHashes));
    const delay = next - lastCheck - times.interval;
    assert.ok(delay >= 0 && delay < times.jitter);
    delays.add(delay);
  }
  assert.ok(delays.size > 190, `${delays.size} different delays`);
  const spread = [...delays].filter((delay) => delay < 250_000).length;
  assert.ok(spread > 60 && spread < 140, `${spread} of 200 in the first half`);
});

test("a clock that was wrong neither stops the looks nor makes them endless", () => {
  const year = (count: number) => count * 365 * 86_400_000;
  const times = { interval: 3_600_000, jitter: 600_000, key: "k" };
  // In 2100 by mistake, and corrected.
  const corrected = nextCheck(
    { ...times, now: year(56), startedAt: year(56) - 60_000, lastCheck: year(130) },
    nodeHashes,
  );
  assert.ok(corrected <= year(56) + times.jitter);
  // In 1970, before anything is known of the time: the start lies ahead of the clock.
  const early = nextCheck({ ...times, now: 5, startedAt: year(56), lastCheck: undefined }, nodeHashes);
  assert.ok(early < 5 + times.jitter);
  // Never asked: late by the jitter at most.
  const first = nextCheck({ ...times, now: year(56), startedAt: year(56), lastCheck: undefined }, nodeHashes);
  assert.ok(first >= year(56) && first < year(56) + times.jitter);
});
