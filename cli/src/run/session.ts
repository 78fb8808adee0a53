/** What surrounds every command: progress, notes, Ctrl-C, errors in one line, exit codes. */
import process from "node:process";
import { isAshlarError } from "@ashlar/core/errors";
import { type Note, type Reporter, silentReporter } from "@ashlar/core/ops";
import type { OutputFlags, ProgressFlags } from "../commands/flags.ts";
import { EXIT, exitCodeOf } from "../exit-codes.ts";
import { printable } from "../output/printable.ts";
import { createReporter } from "../output/reporter.ts";

export interface Session {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  /** Everything noted so far, for `--json`. */
  readonly notes: readonly Note[];
  /** The result for programs: one JSON document on standard output. */
  printJson(value: unknown): void;
  /** Lines on standard output. */
  print(text: string): void;
  /** Says what an interrupted run leaves, which is nothing otherwise. */
  leaveBehind(what: string): void;
}

const ERROR_SCHEMA = "ashlar.error/v1";

/** Thrown by a command that has said what is wrong and wants an exit code. */
export class Failed extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** What asks a run to end, and the exit code that a shell gives for it: Ctrl-C, kill, a terminal that is closed. */
const SIGNALS = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hungUp } as const;
const SIGNAL_NAMES = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];

/** Ends the process as it would end by itself. */
function endNow(): void {
  process.exit(process.exitCode ?? EXIT.ok);
}

function interruption(): { readonly signal: AbortSignal; exitCode(): number | undefined; dispose(): void } {
  const controller = new AbortController();
  let code: number | undefined;
  function onSignal(name: NodeJS.Signals): void {
    const wanted = SIGNALS[name as keyof typeof SIGNALS];
    if (code !== undefined) process.exit(wanted); // the second time there is no waiting
    code = wanted;
    controller.abort(new Error("interrupted"));
  }
  for (const name of SIGNAL_NAMES) process.on(name, onSignal);
  return {
    signal: controller.signal,
    exitCode: () => code,
    dispose() {
      for (const name of SIGNAL_NAMES) {
        process.off(name, onSignal);
        // What is done is done: a signal that comes now must not make a whole result look like an interrupted one.
        if (!process.listeners(name).includes(endNow)) process.on(name, endNow);
      }
    },
  };
}

type SessionFlags = OutputFlags & Partial<ProgressFlags>;

function reporterFor(flags: SessionFlags): Reporter {
  if (flags.json || flags.quiet === true) return silentReporter;
  return createReporter({
    write: (text) => process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
    columns: process.stderr.columns ?? 80,
    now: () => performance.now(),
  });
}

function reportError(error: unknown, flags: OutputFlags): void {
  const message = error instanceof Error ? error.message : String(error);
  if (flags.json) {
    const known = isAshlarError(error) ? { kind: error.kind, code: error.code } : { kind: "Bug", code: "bug" };
    process.stderr.write(`${JSON.stringify({ schema: ERROR_SCHEMA, ...known, message })}\n`);
  } else process.stderr.write(`ashlar: ${printable(message.split("\n").join(" "))}\n`);
  // A bug of ours: only here does a stack help.
  if (!isAshlarError(error) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
}

/** Runs one command. Never throws; sets the exit code. */
export async function inSession(flags: SessionFlags, action: (session: Session) => Promise<void>): Promise<void> {
  const interrupt = interruption();
  const notes: Note[] = [];
  const shown = reporterFor(flags);
  let left = "nothing was left behind";
  try {
    await action({
      reporter: {
        start: shown.start,
        note(note) {
          notes.push(note);
          shown.note(note);
        },
      },
      signal: interrupt.signal,
      notes,
      printJson: (value) => process.stdout.write(`${JSON.stringify(value, null, 2)}\n`),
      print: (text) => process.stdout.write(`${printable(text)}\n`),
      leaveBehind(what) {
        left = what;
      },
    });
  } catch (error) {
    const code = interrupt.exitCode();
    if (code !== undefined) {
      const message = `interrupted, ${printable(left)}`;
      if (flags.json) {
        const document = { schema: ERROR_SCHEMA, kind: "Interrupted", code: "interrupted", message };
        process.stderr.write(`${JSON.stringify(document)}\n`);
      } else process.stderr.write(`${process.stderr.isTTY === true ? "\n" : ""}ashlar: ${message}\n`);
      process.exitCode = code;
    } else if (error instanceof Failed) process.exitCode = error.exitCode;
    else {
      reportError(error, flags);
      process.exitCode = exitCodeOf(error);
    }
  } finally {
    interrupt.dispose();
  }
}
