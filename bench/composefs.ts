// Ours, from the sources and as the single executable, against mkcomposefs: directories of a small and a large Debian, a dump
// of the small one, and a dump of it many times over, in turn. Prints the tables of docs/performance.md.
import { spawnSync } from "node:child_process";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ashlarOk } from "../test/support/ashlar.ts";
import { IN_TOOLS, makeRoot, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";
import { largeTar } from "./large-image.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const folder = benchFolder();
const at = (name: string): string => join(folder, name);

makeRoot("tools");
for (const [name, tar] of Object.entries({ root: makeRoot("trixie"), "large-root": largeTar() })) {
  mkdirSync(at(name));
  spawnSync("tar", ["-C", at(name), "--exclude=./dev/*", "-xf", tar], { stdio: "inherit" });
}
const dump = ashlarOk(["composefs", "dump", "--quiet", `dir:${at("root")}`]).stdout;
writeFileSync(at("dump"), dump);

/** Times that the Debian stands in the large dump: half a million names. */
const COPIES = 79;

/** Each copy in a directory of its own. */
function* copies(): Generator<string> {
  const [root, ...lines] = dump.trimEnd().split("\n");
  yield `${root}\n`;
  for (let copy = 0; copy < COPIES; copy++) {
    yield `/${copy} 0 40755 2 0 0 0 0.0 - - -\n`;
    for (const line of lines) {
      const fields = line.split(" ");
      fields[0] = `/${copy}${fields[0]}`;
      if (fields[2]!.startsWith("@")) fields[8] = `/${copy}${fields[8]}`; // a line has eleven
      yield `${fields.join(" ")}\n`;
    }
  }
}
await pipeline(Readable.from(copies()), createWriteStream(at("large")));
const executable = at("ashlar");
spawnSync(join(REPOSITORY, "scripts/build-agent"), [executable], { stdio: "ignore" });

const theirs = (...args: string[]): Command => ({
  name: "mkcomposefs",
  command: IN_TOOLS,
  args: ["mkcomposefs", "--min-version=1", ...args, at("theirs.cfs")],
});
const ours = (...args: string[]): Command[] =>
  Object.entries({ sources: join(REPOSITORY, "ashlar"), executable }).map(([form, command]) => ({
    name: `ashlar composefs create, ${form}`,
    command,
    args: ["composefs", "create", "--quiet", "--overwrite", ...args, at("ours.cfs")],
  }));

console.log(`medians of ${ROUNDS} rounds, the chains in turn`);
for (const name of ["root", "large-root"]) {
  console.log(`\nfrom a directory, ${name}\n`);
  await compare([theirs(at(name)), ...ours("--workers", "2", `dir:${at(name)}`)], ROUNDS);
}
console.log("\nfrom a dump\n");
await compare([theirs("--from-file", at("dump")), ...ours("--from-dump", at("dump"))], ROUNDS);
console.log("\nfrom a large dump\n");
await compare([theirs("--from-file", at("large")), ...ours("--from-dump", at("large"))], ROUNDS);
