/** Shows what an operation does: one moving line on a terminal, a line a finished task elsewhere, nothing when quiet. */
import type { Note, Reporter, Task } from "@ashlar/core/ops";
import { printable } from "./printable.ts";
import { formatBytes, formatSeconds } from "./units.ts";

export interface ReporterOptions {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Columns of the terminal. */
  readonly columns: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** Milliseconds between two redraws of the line. */
const REDRAW_INTERVAL = 100;
const CLEAR_LINE = "\r\x1b[K";

function rateOf(done: number, elapsed: number): string {
  return elapsed > 0.2 ? `${formatBytes(done / elapsed)}/s` : "";
}

function progressLine(name: string, done: number, total: number | undefined, elapsed: number): string {
  const parts = [
    name.padEnd(22),
    total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`,
  ];
  const rate = rateOf(done, elapsed);
  if (rate !== "") parts.push(rate);
  if (total !== undefined && done > 0 && elapsed > 1)
    parts.push(`${formatSeconds(((total - done) * elapsed) / done)} left`);
  return parts.join("  ");
}

export function createReporter({ write, isTerminal, columns, now }: ReporterOptions): Reporter {
  function start(title: string, total?: number): Task {
    const name = printable(title);
    const begun = now();
    let done = 0;
    let drawn = 0;
    function draw(): void {
      drawn = now();
      write(CLEAR_LINE + progressLine(name, done, total, (drawn - begun) / 1000).slice(0, columns - 1));
    }
    if (isTerminal) draw();
    return {
      advance(amount) {
        done += amount;
        if (isTerminal && now() - drawn >= REDRAW_INTERVAL) draw();
      },
      end() {
        const elapsed = (now() - begun) / 1000;
        const amount = done > 0 ? `${formatBytes(done)} in ` : "";
        write(`${isTerminal ? CLEAR_LINE : ""}${name.padEnd(22)}  ${amount}${formatSeconds(elapsed)}\n`);
      },
    };
  }
  return {
    start,
    note(note: Note) {
      write(`${isTerminal ? CLEAR_LINE : ""}note [${note.code}] ${printable(note.message)}\n`);
    },
  };
}
