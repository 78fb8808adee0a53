// Ours, from the sources and as the single executable, against fsck.erofs --extract: all files of a Debian of 600 MB out of
// images of mkfs.erofs. Prints the tables of docs/performance.md.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { IN_TOOLS, makeRoot, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, compare } from "./compare.ts";
import { largeTar } from "./large-image.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

/** Options of mkfs.erofs. */
const IMAGES = [[], ["-zlz4"], ["-zlz4", "-C65536"], ["-zzstd,3", "-C65536", "-E48bit"]];

const folder = benchFolder();
makeRoot("tools");
const tar = largeTar();
const image = join(folder, "image");
const out = join(folder, "out");
const executable = join(folder, "ashlar");
if (spawnSync(join(REPOSITORY, "scripts/build-agent"), [executable], { stdio: "ignore" }).status !== 0)
  throw new Error("scripts/build-agent failed");
const prepare = (): void => rmSync(out, { recursive: true, force: true });

console.log(`medians of ${ROUNDS} rounds, in turn`);
for (const options of IMAGES) {
  rmSync(image, { force: true });
  const { status } = spawnSync(IN_TOOLS, ["mkfs.erofs", "--quiet", "-T0", ...options, "--tar=f", image, tar]);
  if (status !== 0) throw new Error(`mkfs.erofs ${options.join(" ")}: exit code ${status}`);
  console.log(`\n${options.length === 0 ? "not compressed" : options.join(" ")}\n`);
  const theirs = { name: "fsck.erofs --extract", command: IN_TOOLS, args: ["fsck.erofs", `--extract=${out}`, image] };
  const args = ["extract", "--quiet", image, out];
  const ours = Object.entries({ sources: join(REPOSITORY, "ashlar"), executable }).map(([form, command]) => ({
    name: `ashlar extract, ${form}`,
    command,
    args,
  }));
  await compare(
    [theirs, ...ours].map((command) => ({ ...command, prepare })),
    ROUNDS,
  );
  prepare();
}
