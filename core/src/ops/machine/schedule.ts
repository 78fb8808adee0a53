/**
 * When a machine looks for updates and when it may reboot. Pure: the time, the time zone and the machine's key are arguments.
 * Windows are times on the wall of where the machine stands, so they are looked up minute by minute: in a night with
 * a change of the clock that is the only arithmetic that needs no exceptions.
 */
import { encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";

const MINUTE = 60_000; // milliseconds
const DAY_MINUTES = 24 * 60;

/** What the wall says at a moment. */
export interface WallTime {
  /** 0 is Sunday. */
  readonly weekday: number;
  /** Since midnight, whole ones. */
  readonly minutes: number;
}

/** @param time milliseconds since 1970 */
export type WallClock = (time: number) => WallTime;

export const utcWallClock: WallClock = (time) => {
  const date = new Date(time);
  return { weekday: date.getUTCDay(), minutes: date.getUTCHours() * 60 + date.getUTCMinutes() };
};

/** A span of time on some days of the week. One that ends before it begins goes on past midnight, and is of the day it begins on. */
export interface Window {
  /** Seven, Sunday first: whether it begins on that day. */
  readonly days: readonly boolean[];
  /** Minutes since midnight; `end` is the first that is outside. */
  readonly start: number;
  readonly end: number;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/**
 * `02:00-05:00`, `Sat,Sun 01:00-06:30`, `Mon..Fri 22:00-04:00`. Throws FormatError `bad-window`.
 */
export function parseWindow(text: string): Window {
  const fail = (reason: string): never => {
    throw new FormatError("bad-window", `window ${JSON.stringify(oneLine(text))}: ${reason}`);
  };
  const [, days, start = "", end = ""] = /^\s*(?:([A-Za-z.,]+)\s+)?([\d:]+)\s*-\s*([\d:]+)\s*$/.exec(text) ?? [];
  if (start === "") fail("is not like Sat,Sun 02:00-05:00");
  const minutesOf = (time: string): number => {
    const [, hours = "", minutes = ""] = /^(\d{1,2}):(\d{2})$/.exec(time) ?? [];
    const count = Number(hours) * 60 + Number(minutes);
    return hours === "" || Number(minutes) > 59 || count > DAY_MINUTES ? fail(`${time} is no time of day`) : count;
  };
  const window = { days: parseDays(days?.toLowerCase(), fail), start: minutesOf(start), end: minutesOf(end) };
  if (window.start === DAY_MINUTES) fail("24:00 is the end of a day, and no beginning");
  if (window.start === window.end) fail("begins when it ends; the whole day is 00:00-24:00");
  return window;
}

function parseDays(text: string | undefined, fail: (reason: string) => never): boolean[] {
  if (text === undefined) return DAYS.map(() => true);
  const chosen = DAYS.map(() => false);
  for (const item of text.split(",")) {
    const [first = "", last = first, ...more] = item.split("..");
    const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
    if (from < 0 || to < 0 || more.length > 0) fail(`${item} is no day such as Mon, and no range such as Mon..Fri`);
    for (let day = from; ; day = (day + 1) % 7) {
      chosen[day] = true;
      if (day === to) break;
    }
  }
  return chosen;
}

/** Whether a moment is in one of the windows. Without any there is no restriction. */
export function isInside(windows: readonly Window[], { weekday, minutes }: WallTime): boolean {
  const yesterday = (weekday + 6) % 7;
  return (
    windows.length === 0 ||
    windows.some(({ days, start, end }) => {
      if (start < end) return days[weekday] === true && minutes >= start && minutes < end;
      return (days[weekday] === true && minutes >= start) || (days[yesterday] === true && minutes < end);
    })
  );
}

/** Days that are looked ahead: in a week a window may fall into the hour that a change of the clock leaves out. */
const MAX_DAYS_AHEAD = 15;

/** The first moment from `now` on that is in a window; undefined where there is none in two weeks. */
export function nextOpening(windows: readonly Window[], now: number, wallClock: WallClock): number | undefined {
  if (isInside(windows, wallClock(now))) return now;
  let time = now - (now % MINUTE);
  for (let minutes = 0; minutes < MAX_DAYS_AHEAD * DAY_MINUTES; minutes++) {
    time += MINUTE;
    if (isInside(windows, wallClock(time))) return time;
  }
  return undefined;
}

export interface CheckTimes {
  /** When the source was last asked, whatever came of it; undefined where it never was. */
  readonly lastCheck: number | undefined;
  readonly now: number;
  /** When the machine was started. */
  readonly startedAt: number;
  /** Milliseconds between two looks. */
  readonly interval: number;
  /** Milliseconds that a look is late at most. */
  readonly jitter: number;
  /** What tells this machine from others; another delay for each, and for each another one every time. */
  readonly key: string;
}

/**
 * When the source is to be asked next; not later than `now` where it is time. Of a last look that is still to come nothing is
 * believed: the clock was wrong then, or is now.
 */
export function nextCheck(times: CheckTimes, hashes: Hashes): number {
  const { now, interval, jitter } = times;
  const startedAt = Math.min(times.startedAt, now);
  const last = times.lastCheck !== undefined && times.lastCheck <= now ? times.lastCheck : undefined;
  const [from, wait] = last === undefined ? [startedAt, 0] : [last, interval];
  return from + wait + delayOf(jitter, `${times.key}\n${last ?? "first"}`, hashes);
}

/** From 0 up to `jitter`, not included; the same for the same text. */
function delayOf(jitter: number, text: string, hashes: Hashes): number {
  const digest = hashes.hash("sha256", encodeUtf8(`ashlar jitter\n${text}`));
  const share = new DataView(digest.buffer, digest.byteOffset, digest.length).getUint32(0) / 2 ** 32;
  return Math.floor(share * jitter);
}
