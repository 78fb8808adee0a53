// Runs one parser over many spoiled inputs and counts what came of them.
import { Worker } from "node:worker_threads";
import { isAshlarError } from "../../core/src/errors/index.ts";
import { startEffort } from "../support/effort.ts";
import { type Mutant, type Random, seededRandom } from "../support/mutate.ts";

export interface Parser {
  readonly name: string;
  /** Spoiled inputs, without end. */
  mutants(random: Random): Iterator<Mutant> | Promise<Iterator<Mutant>>;
  /** Inputs of a shape that chance does not hit: small ones that could cost much time or memory. */
  shapes?(): Iterable<Mutant> | AsyncIterable<Mutant>;
  /** Reads the input as far as anybody would. Errors other than ours are escapes. */
  read(bytes: Uint8Array): Promise<unknown>;
}

export interface Outcome {
  readonly parser: string;
  readonly cases: number;
  readonly values: number;
  readonly refusals: number;
  /** One line each. */
  readonly escapes: readonly string[];
  /** Milliseconds, and which case it was. */
  readonly slowest: number;
  readonly slowestCase: string;
  /** Bytes that were more after a case than before it, at most. */
  readonly growth: number;
}

/** Milliseconds a case may take, on the clock and of the processor: a busy machine is not the parser's fault. */
const MAX_TIME = 2000;
/** Milliseconds after which a case that does not end is named, and the process ended. */
const MAX_HANG = 120_000;
/** Bytes a case may leave on the heap and in buffers. */
const MAX_GROWTH = 256 * 1024 * 1024;

function memory(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Ends the process where a case hangs, since nobody else can: a parser that loops lets no timer through. */
function startWatchdog() {
  const shared = new SharedArrayBuffer(8);
  const state = new Int32Array(shared); // number of the case, and a count that every case raises
  const program = `
    const { workerData } = require("node:worker_threads");
    const { writeSync } = require("node:fs");
    const state = new Int32Array(workerData.shared);
    let count = -1;
    setInterval(() => {
      if (state[1] === count) {
        writeSync(2, workerData.name + ": case " + state[0] + " does not end\\n");
        process.kill(process.pid, "SIGKILL");
      }
      count = state[1];
    }, ${MAX_HANG});`;
  return {
    watch(name: string): Disposable & { next(number: number): void } {
      const worker = new Worker(program, { eval: true, workerData: { shared, name } });
      worker.unref();
      return {
        next(number) {
          Atomics.store(state, 0, number);
          Atomics.add(state, 1, 1);
        },
        [Symbol.dispose]: () => void worker.terminate(),
      };
    },
  };
}

const watchdog = startWatchdog();

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  const place = error.stack?.split("\n").find((line) => line.includes("/core/src/")) ?? "";
  return `${error.name}: ${error.message.slice(0, 160)} ${place.trim()}`;
}

/** Undefined for an error of ours with a message of one line. */
function escapeOf(error: unknown): string | undefined {
  if (!isAshlarError(error)) return describe(error);
  if (/[\n\r]/.test(error.message)) return `message of several lines: ${JSON.stringify(error.message.slice(0, 160))}`;
  return undefined;
}

export async function fuzz(parser: Parser, cases: number): Promise<Outcome> {
  const mutants = await parser.mutants(seededRandom(parser.name));
  const escapes: string[] = [];
  const counts = { cases: 0, values: 0, refusals: 0 };
  let slowest = 0;
  let slowestCase = "";
  let growth = 0;
  using dog = watchdog.watch(parser.name);

  async function run({ what, bytes }: Mutant): Promise<void> {
    const number = counts.cases++;
    const label = `case ${number} (${what.slice(0, 200)})`;
    dog.next(number);
    const before = memory();
    const effort = startEffort();
    let problem: string | undefined;
    try {
      await parser.read(bytes);
      counts.values++;
    } catch (error) {
      problem = escapeOf(error);
      counts.refusals++;
    }
    const time = effort();
    const grown = memory() - before;
    if (time > slowest) [slowest, slowestCase] = [time, label];
    growth = Math.max(growth, grown);
    if (time > MAX_TIME) problem ??= `took ${Math.round(time)} ms`;
    if (grown > MAX_GROWTH) problem ??= `left ${Math.round(grown / 2 ** 20)} MiB behind`;
    if (problem !== undefined) escapes.push(`${parser.name}, ${label}: ${problem}`);
  }

  for await (const shape of parser.shapes?.() ?? []) await run(shape);
  while (counts.cases < cases) {
    const { value, done } = mutants.next();
    if (done === true) break;
    await run(value);
  }
  return { parser: parser.name, ...counts, escapes, slowest, slowestCase, growth };
}

/** The fuzz report, a line a parser. */
export function reportOf(outcomes: readonly Outcome[]): string[] {
  const head = ["parser", "cases", "values", "refusals", "escapes", "slowest", "growth"];
  const rows = outcomes.map(({ parser, cases, values, refusals, escapes, slowest, growth }) => [
    parser,
    ...[cases, values, refusals, escapes.length].map(String),
    `${slowest.toFixed(1)} ms`,
    `${(growth / 2 ** 20).toFixed(1)} MiB`,
  ]);
  const sum = (of: (outcome: Outcome) => number) => String(outcomes.reduce((total, outcome) => total + of(outcome), 0));
  const total = [
    "all",
    sum((o) => o.cases),
    sum((o) => o.values),
    sum((o) => o.refusals),
    sum((o) => o.escapes.length),
  ];
  const table = [head, ...rows, [...total, `${Math.max(0, ...outcomes.map((o) => o.slowest)).toFixed(1)} ms`, ""]];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
