// Where the time of `ashlar seal` goes: wall time of each step, CPU seconds by thread, and what the large pieces of work
// take of that. One seal in this process, on the ports that the command uses, with clocks around them.
//
//   node bench/steps.ts LAYOUT
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Hashes } from "../core/src/hash/index.ts";
import {
  createBlockHasher,
  fileScratch,
  nodeCompressors,
  nodeDecompressors,
  nodeFiles,
  nodeHashes,
  openArtifacts,
} from "../core/src/node/index.ts";
import { parseReference, readInput } from "../core/src/ops/image/index.ts";
import type { Reporter } from "../core/src/ops/index.ts";
import { type Landing, openContentLanding, sealContent } from "../core/src/ops/seal/index.ts";
import type { Scratch, ScratchSpace } from "../core/src/source/index.ts";
import { benchFolder } from "./compare.ts";

/** Threads by what Node calls them; all but the first three kinds are the block hasher's. */
const KINDS = { MainThread: "main", "libuv-worker": "inflate, files", V8Worker: "V8" } as const;
const COLUMNS = ["main", "inflate, files", "leaves", "V8"] as const;
type Column = (typeof COLUMNS)[number];

/** Seconds that each kind of thread of this process has run so far (proc(5), schedstat). */
function threadSeconds(): Record<Column, number> {
  const seconds = { main: 0, "inflate, files": 0, leaves: 0, V8: 0 };
  for (const id of readdirSync("/proc/self/task"))
    try {
      const name = readFileSync(`/proc/self/task/${id}/comm`, "latin1").trim();
      const column = Number(id) === process.pid ? "main" : (KINDS[name as keyof typeof KINDS] ?? "leaves");
      seconds[column] += Number(readFileSync(`/proc/self/task/${id}/schedstat`, "latin1").split(" ")[0]) / 1e9;
    } catch {
      // ended meanwhile
    }
  return seconds;
}

interface Step {
  readonly name: string;
  readonly wall: number;
  readonly cpu: Record<Column, number>;
}
const steps: Step[] = [];
let begun = { at: 0, cpu: { main: 0, "inflate, files": 0, leaves: 0, V8: 0 } }; // the start of the process

/** Everything since the step before. */
function endStep(name: string): void {
  const now = { at: performance.now(), cpu: threadSeconds() };
  const cpu = { ...now.cpu };
  for (const column of COLUMNS) cpu[column] -= begun.cpu[column];
  steps.push({ name, wall: (now.at - begun.at) / 1000, cpu });
  begun = now;
}

const pieces = new Map<string, { seconds: number; bytes: number }>();

/** A piece of work on the main thread, which waits for it. */
function timed<T>(piece: string, bytes: number, work: () => T): T {
  const start = performance.now();
  try {
    return work();
  } finally {
    const known = pieces.get(piece) ?? { seconds: 0, bytes: 0 };
    known.seconds += (performance.now() - start) / 1000;
    known.bytes += bytes;
    pieces.set(piece, known);
  }
}

let isReading = true;
const hashes: Hashes = {
  create(algorithm) {
    const hasher = nodeHashes.create(algorithm);
    const piece = isReading ? "SHA-256 of the layers, compressed and not" : "SHA-256 of the leaves and artifacts";
    return { ...hasher, update: (bytes) => timed(piece, bytes.length, () => hasher.update(bytes)) };
  },
  hash: nodeHashes.hash,
};

function timedScratch(scratch: Scratch): Scratch {
  const { readInto } = scratch;
  if (readInto === undefined) return scratch;
  const timedRead: Scratch["readInto"] = (offset, target) =>
    timed("reading the scratch file", target.length, () => readInto(offset, target));
  return Object.create(scratch, { readInto: { value: timedRead } });
}

const [reference = ""] = process.argv.slice(2);
const folder = benchFolder();
const temporary = fileScratch(folder);
const scratch: ScratchSpace = { create: async () => timedScratch(await temporary.create()) };
const reporter: Reporter = {
  start: (name) => ({
    advance() {},
    end() {
      isReading = false;
      endStep(name);
    },
  }),
  note() {},
};

endStep("start, loading the program");
const artifacts = await openArtifacts(join(folder, "out"), { overwrite: false });
// The command's own number: one processor is left to the thread that reads and writes.
await using blockHasher = createBlockHasher({ workers: Math.min(Math.max(availableParallelism() - 1, 1), 8) });
const environment = { hashes, blockHasher, compressors: nodeCompressors, scratch, reporter };
const options = { name: "steps", algorithm: "sha256", tails: "blocks" } as const;
let landing: Landing | undefined;
const input = await readInput(
  parseReference(`oci:${reference}`),
  {
    hashes,
    files: nodeFiles,
    scratch,
    decompressors: nodeDecompressors,
    reporter,
    async openStore(labels) {
      landing = await openContentLanding(labels, options, artifacts, environment);
      return landing;
    },
  },
  {},
);
const { release } = await sealContent({ ...input, inputs: [], landing }, options, artifacts, environment);
endStep("publishing");

const row = (name: string, cells: readonly number[]): string =>
  `| ${name} | ${cells.map((cell) => cell.toFixed(2)).join(" | ")} |`;
console.log(`where the time goes; root hash ${release.rootHash}\n`);
console.log(
  `| step | wall s | CPU s | ${COLUMNS.join(" | ")} |\n| --- | --: | --: |${" --: |".repeat(COLUMNS.length)}`,
);
const cpuCells = (cpu: Record<Column, number>): number[] => COLUMNS.map((column) => cpu[column]);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
for (const { name, wall, cpu } of steps) console.log(row(name, [wall, sum(cpuCells(cpu)), ...cpuCells(cpu)]));
const totals = COLUMNS.map((column) => sum(steps.map(({ cpu }) => cpu[column])));
console.log(row("all", [sum(steps.map(({ wall }) => wall)), sum(totals), ...totals]));
console.log("\n| on the main thread | s | MB/s |\n| --- | --: | --: |");
for (const [name, { seconds, bytes }] of pieces)
  console.log(`| ${name} | ${seconds.toFixed(2)} | ${(bytes / seconds / 1e6).toFixed(0)} |`);
