/** Exit codes, one a class of error; documented in docs/errors.md. */
import { type AshlarError, isAshlarError } from "@ashlar/core/errors";

export const EXIT = {
  ok: 0,
  bug: 1,
  usage: 2,
  FormatError: 3,
  UnsupportedError: 4,
  IntegrityError: 5,
  PolicyError: 6,
  SourceError: 7,
  SinkError: 8,
  /** Of `ashlar diff --exit-code` and `ashlar reproduce`. */
  different: 9,
  /** Of `ashlar channel check`. */
  newer: 10,
  stale: 11,
  /** Of `ashlar agent health`. */
  unhealthy: 12,
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const satisfies Readonly<Record<AshlarError["kind"] | Ending, number>>;

type Ending =
  | "ok"
  | "bug"
  | "usage"
  | "different"
  | "newer"
  | "stale"
  | "unhealthy"
  | "hungUp"
  | "interrupted"
  | "terminated";

export function exitCodeOf(error: unknown): number {
  return isAshlarError(error) ? EXIT[error.kind] : EXIT.bug;
}
