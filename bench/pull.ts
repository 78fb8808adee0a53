// The large image from a registry on the loopback interface: pulled and sealed by Ashlar in one pass, against what people do who
// want its files: `skopeo copy` to a layout and `umoci unpack`, which makes neither image nor hash tree of them.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { oracle } from "../test/support/oracle.ts";
import { startRegistry } from "../test/support/registry.ts";
import { IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";
import { largeImage } from "./large-image.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

const { layout } = await largeImage();
const folder = benchFolder();
const at = (name: string): string => join(folder, name);
const skopeo = oracle("skopeo", { from: "tools" });
if (skopeo === undefined) throw new Error("no tools root: run scripts/fetch-roots tools");

const ends: (() => void | Promise<void>)[] = [];
try {
  const registry = await startRegistry({ after: (end) => void ends.push(end) }, { kind: "distribution" });
  const reference = `docker://${registry.host}/bench/os:1`;
  const policy = ["--insecure-policy", "copy", "-q"];
  await skopeo.ok([...policy, "--dest-tls-verify=false", `oci:${layout}:latest`, reference], { timeout: 600_000 });
  const chain = [
    "set -eu",
    `rm -rf ${at("layout")} ${at("bundle")}`,
    `skopeo ${policy.join(" ")} --src-tls-verify=false ${reference} oci:${at("layout")}:1`,
    `umoci unpack --image ${at("layout")}:1 ${at("bundle")}`,
    "",
  ];
  writeFileSync(at("chain.sh"), chain.join("\n"));
  const seal = ["seal", reference, "-o", at("ours"), "--name", "x", "--overwrite", "--quiet", "--no-tls-verify"];
  const cached = `rm -rf ${at("cache")}; XDG_CACHE_HOME=${at("cache")} ${join(REPOSITORY, "ashlar")} ${seal.join(" ")}`;
  const commands: readonly Command[] = [
    { name: "skopeo copy + umoci unpack", command: IN_TOOLS, args: ["sh", at("chain.sh")] },
    { name: "ashlar seal docker://", command: join(REPOSITORY, "ashlar"), args: [...seal, "--no-cache"] },
    { name: "the same, and the layer is kept in the cache", command: "/bin/sh", args: ["-c", cached] },
  ];
  console.log(`one gzip layer from a registry; medians of ${ROUNDS} rounds, the chains in turn\n`);
  await compare(commands, ROUNDS);
  console.log();
} finally {
  for (const end of ends.reverse()) await end();
}
