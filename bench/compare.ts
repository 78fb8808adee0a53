// Runs candidates in turn and prints how they compare with the first: the form of all tables in docs/performance.md.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Cost, measure } from "./measure.ts";

export interface Command {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Before each run, not measured. */
  readonly prepare?: () => void;
}

/**
 * A folder for results, gone at the end. In memory where that is possible: ashlar flushes what it writes and the others
 * do not, and the speed of a disk is not what is compared.
 */
export function benchFolder(): string {
  const parent = process.env["ASHLAR_BENCH_DIR"] ?? (existsSync("/dev/shm") ? "/dev/shm" : tmpdir());
  const folder = mkdtempSync(join(parent, "ashlar-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!; // there is at least one round
}

/** Medians of `rounds`, after one round that fills the page cache, in which memory is sampled. */
export async function compare(commands: readonly Command[], rounds: number): Promise<void> {
  const costs = commands.map((): Cost[] => []);
  const peaks: number[] = [];
  for (let round = 0; round < rounds + 1; round++)
    for (const [index, { command, args, prepare }] of commands.entries()) {
      prepare?.();
      const cost = await measure(command, args, { samplesMemory: round === 0 });
      if (cost.peakMemory === undefined)
        costs[index]!.push(cost); // same length
      else peaks.push(cost.peakMemory);
    }
  const medians = costs.map((list) => ({
    wall: median(list.map(({ wall }) => wall)),
    cpu: median(list.map(({ cpu }) => cpu)),
  }));
  const reference = medians[0]!; // there is a first command
  console.log("| chain | wall s | CPU s | wall ratio | CPU ratio | peak memory MB |");
  console.log("| --- | --: | --: | --: | --: | --: |");
  for (const [index, { name }] of commands.entries()) {
    const { wall, cpu } = medians[index]!; // same length
    const cells = [wall, cpu, wall / reference.wall, cpu / reference.cpu].map((value) => value.toFixed(2));
    console.log(`| ${name} | ${cells.join(" | ")} | ${(peaks[index]! / 1e6).toFixed(0)} |`);
  }
}
