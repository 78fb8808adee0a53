import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ETC, FAILURE, FUNCTIONS, LIMIT, SEED, VAR } from "./assets/scripts.ts";

const SCRIPTS = { FUNCTIONS, SEED, VAR, ETC, LIMIT, FAILURE };

for (const [name, text] of Object.entries(SCRIPTS)) {
  test(`${name} is shell`, () => {
    const run = spawnSync("sh", ["-n"], { input: text, encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
  });
  test(`${name} has nothing that shellcheck minds`, (t) => {
    if (spawnSync("shellcheck", ["--version"]).status !== 0) return t.skip("shellcheck is not installed");
    // SC1091: sourced files; SC2034, SC2154: variables that cross files.
    const run = spawnSync("shellcheck", ["--shell=sh", "--exclude=SC1091,SC2034,SC2154", "-"], {
      input: text,
      encoding: "utf8",
    });
    assert.equal(run.status, 0, run.stdout);
  });
}

/** A line a name: type, mode, content. */
function listing(folder: string, below = ""): string[] {
  return readdirSync(join(folder, below), { encoding: "latin1" })
    .sort()
    .flatMap((name) => {
      const path = join(below, name);
      const full = Buffer.from(join(folder, path), "latin1");
      const stat = lstatSync(full);
      const shown = `${path} ${stat.mode.toString(8)}`;
      if (stat.isDirectory()) return [shown, ...listing(folder, path)];
      return [`${shown} ${stat.isSymbolicLink() ? readlinkSync(full, "latin1") : readFileSync(full, "latin1")}`];
    });
}

function makeVar(folder: string): void {
  const at = (path: string): string => join(folder, path);
  for (const path of ["lib/one/deep", "lib/two", "log", "spool/.hidden", "cache", "..odd"])
    mkdirSync(at(path), { recursive: true });
  for (const path of ["lib/one/a", "lib/one/deep/b c", "lib/two/*", "spool/.hidden/.x", "..odd/y", ".top"])
    writeFileSync(at(path), `content of ${path}\n`);
  writeFileSync(at("lib/-rf"), "a name like an option\n");
  symlinkSync("../nowhere", at("lib/dangling"));
  symlinkSync("/run", at("run"));
  chmodSync(at("lib/two"), 0o700);
  chmodSync(at("log"), 0o2750);
  chmodSync(folder, 0o751);
}

/** Every program that `seed` calls. */
const CALLED = ["cp", "mv", "rm", "mkdir", "sync"];

/**
 * Programs that do their work until the `count`th call of them all; then the shell goes, as in a power cut. A copy that is
 * cut has one file that is not whole.
 */
function makeTrap(folder: string): void {
  const pathOf = (name: string): string =>
    execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
  const half = `"$real" "$@"; for last; do :; done
    case $last in *.ashlar-seed) ${pathOf("truncate")} -s 3 "$last/lib/one/a" ;; esac`;
  for (const name of CALLED) {
    const script = `#!/bin/sh
real=${pathOf(name)}
count=$(($(cat "$TRAP/count") - 1))
echo "$count" > "$TRAP/count"
if [ "$count" = 0 ]; then
  ${name === "cp" ? half : ""}
  kill -9 "$SHELL_ID"
  exit 1
fi
exec "$real" "$@"
`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  }
}

function runSeed(from: string, to: string, cutAt?: number, trap?: string): number | null {
  const script = `set -eu\nSHELL_ID=$$\nexport SHELL_ID\n${FUNCTIONS}\n${SEED}\nseed "$1" "$2"\n`;
  const env = { ...process.env };
  if (cutAt !== undefined && trap !== undefined) {
    writeFileSync(join(trap, "count"), `${cutAt}\n`);
    Object.assign(env, { TRAP: trap, PATH: `${trap}:${process.env["PATH"]}` });
  }
  return spawnSync("sh", ["-c", script, "seed", from, to], { env, stdio: "ignore" }).status;
}

function workshop(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-seed-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["from", "to", "trap"]) mkdirSync(join(folder, name));
  return folder;
}

const canSeed = process.platform === "linux" && spawnSync("cp", ["--version"]).stdout?.includes("GNU");

test("/var is filled once, and takes the mode of the image's", (t) => {
  if (!canSeed) return t.skip("needs GNU cp");
  const folder = workshop(t);
  const [from, to] = [join(folder, "from"), join(folder, "to")];
  makeVar(from);
  mkdirSync(join(to, "lost+found"));
  assert.equal(runSeed(from, to), 0);
  const expected = [...listing(from), ...["lib/ashlar 40755", "lib/ashlar/seeded 100644 1\n", "lost+found 40755"]];
  assert.deepEqual(listing(to).sort(), expected.sort());
  assert.equal(lstatSync(to).mode & 0o7777, 0o751);
  rmSync(join(to, "lib/one"), { recursive: true });
  assert.equal(runSeed(from, to), 0);
  assert.ok(!existsSync(join(to, "lib/one")), "what was removed later stays away");
});

test("what is there before the first time stays, and the rest is filled in", (t) => {
  if (!canSeed) return t.skip("needs GNU cp");
  const folder = workshop(t);
  const [from, to] = [join(folder, "from"), join(folder, "to")];
  makeVar(from);
  mkdirSync(join(to, "lib/one"), { recursive: true });
  writeFileSync(join(to, "lib/one/a"), "provisioned\n");
  assert.equal(runSeed(from, to), 0);
  assert.equal(readFileSync(join(to, "lib/one/a"), "utf8"), "provisioned\n");
  assert.equal(readFileSync(join(to, "lib/one/deep/b c"), "utf8"), "content of lib/one/deep/b c\n");
  assert.ok(!existsSync(join(to, ".ashlar-seed")));
});

test("a power cut at any step leaves a /var that the next boot completes", (t) => {
  if (!canSeed) return t.skip("needs GNU cp");
  const folder = workshop(t);
  const [from, trap] = [join(folder, "from"), join(folder, "trap")];
  makeVar(from);
  makeTrap(trap);
  const whole = join(folder, "whole");
  mkdirSync(whole);
  assert.equal(runSeed(from, whole), 0);
  let cuts = 0;
  for (let cutAt = 1; ; cutAt++) {
    const to = join(folder, "to");
    rmSync(to, { recursive: true });
    mkdirSync(to);
    const status = runSeed(from, to, cutAt, trap);
    if (status === 0) break;
    cuts++;
    if (existsSync(join(to, "lib/ashlar/seeded")))
      assert.deepEqual(listing(to), listing(whole), `cut ${cutAt}, marked`);
    assert.equal(runSeed(from, to), 0);
    assert.deepEqual(listing(to), listing(whole), `cut ${cutAt}`);
    assert.equal(lstatSync(to).mode, lstatSync(whole).mode);
  }
  assert.ok(cuts > 10, `${cuts} cuts`);
});
