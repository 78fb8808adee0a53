// What somebody meets first: help, wrong usage, and how long the command takes to start.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { assertOneLine, run, runOk, sampleLayout, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const COMMANDS = ["build", "seal", "ls", "cat", "extract", "verify"];

test("wrong usage ends with exit code 2 and a line that names the wrong thing", async () => {
  for (const [args, message] of [
    [["frobnicate"], /frobnicate/],
    [["--frobnicate"], /frobnicate/],
    [["ls", "--frobnicate", "x"], /frobnicate/],
    [["ls"], /IMAGE/],
    [["cat", "x"], /PATH/],
    [["ls", "a", "b", "c"], /"c"/],
    [["build", "oci:x"], /output/],
    [["seal", "oci:x", "-o", "out", "--workers", "many"], /workers.*many/],
    [["seal", "oci:x", "-o", "out", "--salt", "xyz"], /salt.*xyz/],
    [["seal", "oci:x", "-o", "out", "--hash", "md5"], /md5/],
    [["seal", "oci:x", "-o", "out", "--name", "../../evil"], /name.*evil/],
    [["seal", "oci:x", "-o", "out", "--name", ""], /name/],
    [["build", "oci:x", "-o", "out", "--slot-size", "big"], /big/],
    [["build", "oci:x", "-o", "out", "--timestamp", "yesterday"], /yesterday/],
    [["build", "oci:x", "-o", "out", "--karg", "a\nb"], /karg.*control characters/s],
    [["build", "oci:x", "-o", "out", "--karg", ""], /karg.*empty/],
    [["build", "oci:x", "-o", ""], /output.*at least one character/],
    [["build", "oci:x", "-o", "out", "--platform", "arm"], /platform.*arm.*linux\/arm64/],
    [["inspect", "x", "--platform", "arm"], /platform.*arm/],
    [["keygen", "-o", ""], /output.*at least one character/],
  ] as const) {
    const { status, stdout, stderr } = await run(args, { cwd: folder });
    assert.equal(status, 2, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, message);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, /^ {4}at /m);
  }
  assert.deepEqual(readdirSync(folder), []);
});

test("every command has help with an example that names it", async () => {
  for (const command of COMMANDS) {
    const { stdout } = await runOk([command, "--help"]);
    assert.match(stdout, new RegExp(`^ {2}ashlar ${command} (?!--help|\\()[^\\[<]+$`, "m"), command);
    assert.ok(stdout.split("\n").every((line) => line.length < 600));
  }
  const { stdout } = await runOk(["--help"]);
  assert.match(stdout, /COMMANDS/);
  assert.equal((await runOk(["help"])).stdout, stdout);
  assert.equal((await runOk(["help", "seal"])).stdout, (await runOk(["seal", "--help"])).stdout);
  assert.match((await runOk(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
});

test("references that are none", async () => {
  for (const [reference, exit] of [
    ["nonsense", 3],
    ["docker:alpine", 3],
    ["ostree:alpine", 4],
    ["oci:", 3],
    ["oci:x@sha256:12", 3],
  ] as const) {
    const { status, stderr } = await run(["seal", reference, "-o", join(folder, "out"), "--quiet"]);
    assertOneLine(stderr, /./);
    assert.equal(status, exit, stderr);
  }
  const { status, stderr } = await run(["seal", "oci:x", "-o", "out"], {
    cwd: folder,
    env: { SOURCE_DATE_EPOCH: "x" },
  });
  assertOneLine(stderr, /SOURCE_DATE_EPOCH/);
  assert.equal(status, 6);
});

test("standard streams that are closed", async () => {
  const work = join(folder, "closed");
  mkdirSync(work);
  await sampleLayout(join(work, "layout"));
  for (const closed of ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]) {
    const wrapper = ["bash", "-c", `exec "$@" ${closed}`, "bash"];
    await runOk(["seal", `oci:${join(work, "layout")}`, "-o", join(work, "out"), "--overwrite"], { wrapper });
    assert.deepEqual(readdirSync(join(work, "out")).length, 3);
  }
});

test("start-up", async (t) => {
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const begun = performance.now();
    await runOk(["--version"]);
    times.push(performance.now() - begun);
  }
  t.diagnostic(
    `ashlar --version: median ${times.sort((a, b) => a - b)[3]!.toFixed(0)} ms, best ${times[0]!.toFixed(0)} ms`,
  );
});
