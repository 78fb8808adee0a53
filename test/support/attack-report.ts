// The attack table as a test report: which attack, what was done, what Ashlar said. Every row is a test that passed.
import assert from "node:assert/strict";
import process from "node:process";
import { after } from "node:test";
import { type AshlarError, isAshlarError } from "../../core/src/errors/index.ts";

export interface AttackRow {
  readonly attack: string; // the name in the table of threats, such as `rollback`
  readonly done: string; // what the attacker did
  readonly said: string; // `PolicyError wrong-key: …`
}

export interface AttackReport {
  /** The refusal must be one of ours, of the kind and code; its message is one line. Returns it. */
  refused(attack: string, done: string, action: () => Promise<unknown>, expected: Expected): Promise<AshlarError>;
  /** For attacks on the command, or those of which nothing is refused: what was found. */
  add(row: AttackRow): void;
  readonly rows: readonly AttackRow[];
}

export interface Expected {
  readonly kind: AshlarError["kind"] | readonly AshlarError["kind"][];
  readonly code: string | readonly string[];
  readonly message?: RegExp;
}

/** Printed when the file's tests have ended. */
export function attackReport(title: string): AttackReport {
  const rows: AttackRow[] = [];
  after(() => {
    if (rows.length > 0) process.stdout.write(`${title}\n${attackTable(rows).join("\n")}\n`);
  });
  return {
    rows,
    add: (row) => void rows.push(row),
    async refused(attack, done, action, { kind, code, message }) {
      let thrown: unknown;
      try {
        await action();
      } catch (error) {
        thrown = error;
      }
      assert.ok(thrown !== undefined, `${attack}: ${done}: nothing was refused`);
      if (!isAshlarError(thrown)) throw thrown; // a bug of ours, with its stack
      const what = `${attack}: ${done}: ${thrown.kind} ${thrown.code}: ${thrown.message}`;
      assert.ok([kind].flat().includes(thrown.kind), `${what}; expected ${[kind].flat().join(" or ")}`);
      assert.ok([code].flat().includes(thrown.code), `${what}; expected ${[code].flat().join(" or ")}`);
      assert.doesNotMatch(thrown.message, /\n/);
      if (message !== undefined) assert.match(thrown.message, message, what);
      rows.push({ attack, done, said: `${thrown.kind} ${thrown.code}: ${thrown.message}` });
      return thrown;
    },
  };
}

/** Columns of equal width but for the last. */
export function attackTable(rows: readonly AttackRow[]): string[] {
  const table = [
    ["attack", "what was done", "what Ashlar said"],
    ...rows.map(({ attack, done, said }) => [attack, done, said]),
  ];
  const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
