/** When and how soon something is tried again. */
import { isAshlarError } from "../../errors/index.ts";
import { FIRST_DELAY, MAX_DELAY } from "./limits.ts";

/** A broken or slow connection, which the next one need not be. */
export function isTransientError(error: unknown): boolean {
  return isAshlarError(error) && error.kind === "SourceError" && TRANSIENT_CODES.includes(error.code);
}
const TRANSIENT_CODES = ["connection", "timeout", "too-slow"];

/** Answers that say «not now». */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505 && status !== 507);
}

/**
 * Milliseconds before attempt `attempt + 1`: twice as long each time, and by chance anything from half of that, so that
 * many clients of one registry do not come back together.
 * @param random from 0 to less than 1
 */
export function delayBefore(attempt: number, random: number): number {
  const delay = Math.min(FIRST_DELAY * 2 ** attempt, MAX_DELAY);
  return Math.round(delay * (0.5 + random / 2));
}

/** Milliseconds that a Retry-After asks for (RFC 9110, 10.2.3): seconds or a date. @param now milliseconds since 1970 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Z][a-z]{2},/.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
