// One large layer, as most images have it: 600 MB and 18,000 files of Debian in a single gzip layer. Ours against the chain
// that people use (umoci, mkfs.erofs, veritysetup) and against the leanest there is, which unpacks nothing and checks no digest.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { oracle } from "../test/support/oracle.ts";
import { IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";
import { largeImage } from "./large-image.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const { layout, layer } = await largeImage();
const folder = benchFolder();
const at = (name: string): string => join(folder, name);
if (oracle("umoci", { from: "tools" }) === undefined) throw new Error("no tools root: run scripts/fetch-roots tools");
const erofs = "mkfs.erofs -T1735689600 -U 00000000-0000-0000-0000-000000000000 --quiet";
const scripts = {
  umoci: [
    `rm -rf ${at("bundle")} ${at("a.erofs")} ${at("a.verity")}`,
    `umoci unpack --image ${layout}:latest ${at("bundle")}`,
    `${erofs} ${at("a.erofs")} ${at("bundle")}/rootfs`,
    `veritysetup format --salt=- ${at("a.erofs")} ${at("a.verity")}`,
  ],
  lean: [
    `rm -rf ${at("b.erofs")} ${at("b.verity")}`,
    `gzip -dc ${layer} | ${erofs} --tar=f ${at("b.erofs")}`,
    `veritysetup format --salt=- ${at("b.erofs")} ${at("b.verity")}`,
  ],
  // Like the others without what it made before: replacing it would need the space of both at once.
  ours: [
    `rm -rf ${at("ours")}`,
    `exec ${join(REPOSITORY, "ashlar")} seal oci:${layout} -o ${at("ours")} --name x --quiet`,
  ],
};
for (const [name, lines] of Object.entries(scripts))
  writeFileSync(at(`${name}.sh`), ["set -eu", ...lines, ""].join("\n"));
const commands: readonly Command[] = [
  { name: "gzip + mkfs.erofs --tar + veritysetup", command: IN_TOOLS, args: ["sh", at("lean.sh")] },
  { name: "umoci + mkfs.erofs + veritysetup", command: IN_TOOLS, args: ["sh", at("umoci.sh")] },
  { name: "ashlar seal", command: "sh", args: [at("ours.sh")] },
];
console.log(`one gzip layer; medians of ${ROUNDS} rounds, the chains in turn\n`);
await compare(commands, ROUNDS);
console.log();
spawnSync(process.execPath, [join(REPOSITORY, "bench/steps.ts"), layout], { stdio: "inherit" });
