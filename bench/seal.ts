// Ours against the chain of C tools on the same layout, in turn: image → EROFS → hash tree.
// Prints the table of docs/performance.md: ratios of CPU seconds and wall time, and peak memory.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { debianLayout } from "../test/support/debian.ts";
import { oracle } from "../test/support/oracle.ts";
import { IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const layout = await debianLayout("trixie");
const folder = benchFolder();
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

const commands: readonly Command[] = [
  { name: "umoci + mkfs.erofs + veritysetup", command: IN_TOOLS, args: ["sh", at("chain")] },
  {
    name: "ashlar seal",
    command: join(REPOSITORY, "ashlar"),
    args: ["seal", `oci:${layout}`, "-o", at("ours"), "--overwrite", "--quiet"],
  },
];

console.log(`${versions.split("\n")[0]}; medians of ${ROUNDS} rounds, the chains in turn\n`);
await compare(commands, ROUNDS);
