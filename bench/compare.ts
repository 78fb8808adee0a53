// Runs candidates in turn and prints how they compare with the first: the form of all tables in docs/performance.md.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Cost } from "./measure.ts";

export type Candidate = readonly [name: string, run: () => Promise<Cost>];

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

/** Medians of `rounds`, after one round that fills the page cache. */
export async function compare(candidates: readonly Candidate[], rounds: number): Promise<void> {
  const costs = candidates.map((): Cost[] => []);
  for (let round = 0; round < rounds + 1; round++)
    for (const [index, [, run]] of candidates.entries()) {
      const cost = await run();
      if (round > 0) costs[index]!.push(cost); // same length
    }
  const medians = costs.map((list) => ({
    wall: median(list.map(({ wall }) => wall)),
    cpu: median(list.map(({ cpu }) => cpu)),
    peakMemory: median(list.map(({ peakMemory }) => peakMemory)),
  }));
  const reference = medians[0]!; // there is a first candidate
  console.log("| chain | wall s | CPU s | wall ratio | CPU ratio | peak memory MB |");
  console.log("| --- | --: | --: | --: | --: | --: |");
  for (const [index, [name]] of candidates.entries()) {
    const { wall, cpu, peakMemory } = medians[index]!; // same length
    const cells = [wall, cpu, wall / reference.wall, cpu / reference.cpu].map((value) => value.toFixed(2));
    console.log(`| ${name} | ${cells.join(" | ")} | ${(peakMemory / 1e6).toFixed(0)} |`);
  }
}
