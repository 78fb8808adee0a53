// Ours against mkcomposefs: a directory and a dump of the same Debian, in turn. Prints the tables of docs/performance.md.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ashlarOk } from "../test/support/ashlar.ts";
import { IN_TOOLS, makeRoot, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const folder = benchFolder();
const at = (name: string): string => join(folder, name);
const ashlar = join(REPOSITORY, "ashlar");

makeRoot("tools");
const tar = makeRoot("trixie");
mkdirSync(at("root"));
spawnSync("tar", ["-C", at("root"), "--exclude=./dev/*", "-xf", tar], { stdio: "inherit" });
writeFileSync(at("dump"), ashlarOk(["composefs", "dump", "--quiet", `dir:${at("root")}`]).stdout);

const theirs = (...args: string[]): Command => ({
  name: "mkcomposefs",
  command: IN_TOOLS,
  args: ["mkcomposefs", "--min-version=1", ...args, at("theirs.cfs")],
});
const ours = (...args: string[]): Command => ({
  name: "ashlar composefs create",
  command: ashlar,
  args: ["composefs", "create", "--quiet", "--overwrite", ...args, at("ours.cfs")],
});

console.log(`medians of ${ROUNDS} rounds, the chains in turn\n\nfrom a directory\n`);
await compare([theirs(at("root")), ours("--workers", "2", `dir:${at("root")}`)], ROUNDS);
console.log("\nfrom a dump\n");
await compare([theirs("--from-file", at("dump")), ours("--from-dump", at("dump"))], ROUNDS);
