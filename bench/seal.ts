// Ours against the chain of C tools on the same layout, in turn: image → EROFS → hash tree.
// Prints the table of docs/performance.md: ratios of CPU seconds and wall time, and peak memory.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { debianLayout } from "../test/support/debian.ts";
import { oracle } from "../test/support/oracle.ts";
import { IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { type Cost, measure } from "./measure.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const layout = await debianLayout("trixie");
const folder = mkdtempSync(join(tmpdir(), "ashlar-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const umoci = oracle("umoci", { from: "tools" });
if (umoci === undefined) throw new Error("no tools root: run scripts/fetch-roots tools");
const versions = (await umoci.ok(["--version"])).stdout.trim();
writeFileSync(
  at("chain"),
  `set -eu
rm -rf ${at("bundle")} ${at("chain.erofs")} ${at("chain.verity")}
umoci unpack --image ${layout}:latest ${at("bundle")}
mkfs.erofs -T1735689600 -U 00000000-0000-0000-0000-000000000000 --quiet ${at("chain.erofs")} ${at("bundle")}/rootfs
veritysetup format --salt=- ${at("chain.erofs")} ${at("chain.verity")}
`,
);

const candidates: readonly (readonly [name: string, run: () => Promise<Cost>])[] = [
  ["umoci + mkfs.erofs + veritysetup", () => measure(IN_TOOLS, ["sh", at("chain")])],
  [
    "ashlar seal",
    () => measure(join(REPOSITORY, "ashlar"), ["seal", `oci:${layout}`, "-o", at("ours"), "--overwrite", "--quiet"]),
  ],
  [
    "ashlar seal --workers 1",
    () =>
      measure(join(REPOSITORY, "ashlar"), [
        "seal",
        `oci:${layout}`,
        "-o",
        at("ours"),
        "--overwrite",
        "--quiet",
        "--workers",
        "1",
      ]),
  ],
];

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!; // ROUNDS is not 0
}

const costs = candidates.map((): Cost[] => []);
for (let round = 0; round < ROUNDS + 1; round++)
  for (const [index, [, run]] of candidates.entries()) {
    const cost = await run();
    if (round > 0) costs[index]!.push(cost); // the first round fills the page cache
  }
const medians = costs.map((list) => ({
  wall: median(list.map(({ wall }) => wall)),
  cpu: median(list.map(({ cpu }) => cpu)),
  peakMemory: median(list.map(({ peakMemory }) => peakMemory)),
}));
const reference = medians[0]!; // the chain
console.log(`${versions.split("\n")[0]}; medians of ${ROUNDS} rounds, the chains in turn\n`);
console.log("| chain | wall s | CPU s | wall ratio | CPU ratio | peak memory MB |");
console.log("| --- | --: | --: | --: | --: | --: |");
for (const [index, [name]] of candidates.entries()) {
  const { wall, cpu, peakMemory } = medians[index]!;
  const cells = [wall, cpu, wall / reference.wall, cpu / reference.cpu].map((value) => value.toFixed(2));
  console.log(`| ${name} | ${cells.join(" | ")} | ${(peakMemory / 1e6).toFixed(0)} |`);
}
