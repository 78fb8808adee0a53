// What somebody gives by mistake: nothing, devices, pipes, text, a part of a release instead of the whole. One line that
// says what it is.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  assertOneLine,
  ended,
  run,
  runOk,
  SAMPLE_ENTRIES,
  sampleLayout,
  startAshlar,
  workFolder,
} from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const at = (name: string): string => join(folder, name);

before(async () => {
  writeFileSync(at("empty"), "");
  mkdirSync(at("directory"));
  writeFileSync(at("text"), "hello\n");
  writeFileSync(at("huge"), "");
  truncateSync(at("huge"), 2 ** 40);
  writeFileSync(at("gzip"), gzipSync("hello\n"));
  writeFileSync(at("json"), '{"a":1');
  writeFileSync(at("newer"), '{"schema":"ashlar.release/v99"}');
  writeFileSync(at("esc\x1b[31m\nname"), "hello\n");
  symlinkSync("nowhere", at("dangling"));
  symlinkSync("round", at("round"));
  assert.equal(spawnSync("mkfifo", [at("pipe")]).status, 0);
  await sampleLayout(at("layout"));
  await runOk(["seal", `oci:${at("layout")}`, "-o", at("sealed"), "--quiet"]);
});

const NOTHING_KNOWN = /is no release, disk, EROFS image/;

for (const [command, name, exit, message] of [
  ["inspect", "empty", 3, /empty: is empty$/m],
  ["inspect", "directory", 7, /directory: is a directory without an OCI image layout/],
  ["inspect", "text", 3, NOTHING_KNOWN],
  ["inspect", "huge", 3, NOTHING_KNOWN],
  ["inspect", "gzip", 3, /gzip: gzip of something that is no cpio archive/],
  ["inspect", "json", 3, /json: is not JSON/],
  ["inspect", "newer", 4, /newer than this Ashlar/],
  ["inspect", "esc\x1b[31m\nname", 3, /esc\\u001b\[31m name: is no release/],
  ["inspect", "dangling", 7, /dangling: no such file/],
  ["inspect", "round", 7, /links go round/],
  ["inspect", "pipe", 7, /pipe: is not a regular file/],
  ["inspect", "/dev/null", 7, /\/dev\/null: is not a regular file/],
  ["inspect", "", 7, /"": no such file/],
  ["diff", "pipe", 7, /pipe: is not a regular file/],
  ["verify", "empty", 4, /empty: is empty; verify takes a release or a disk/],
  ["verify", "sealed/sample_1.root.erofs", 4, /holds an EROFS image, which alone says nothing/],
  ["verify", "sealed/sample_1.root.verity", 4, /holds a hash device/],
  ["verify", "pipe", 7, /pipe: is not a regular file/],
  ["ls", "directory", 7, /directory: is a directory/],
  ["ls", "pipe", 7, /pipe: is not a regular file/],
  ["lint", "oci:directory", 7, /not an OCI image layout/],
  ["lint", "tar:text", 3, /tar:text: .*the archive ends at 6/],
  ["lint", "tar:huge-text", 3, /tar:huge-text: is no tar archive/],
] as const)
  test(`${command} ${JSON.stringify(name)}`, async () => {
    writeFileSync(at("huge-text"), "hello\n".repeat(1000));
    const args = command === "diff" ? [name, name] : command === "lint" ? ["--quiet", name] : [name];
    const { status, stdout, stderr } = await run([command, ...args], { cwd: folder });
    assertOneLine(stderr, message);
    assert.equal(status, exit, stderr);
    assert.equal(stdout, "");
  });

test("an output directory that is a file", async () => {
  const { status, stderr } = await run(["seal", `oci:${at("layout")}`, "-o", at("text"), "--quiet"]);
  assertOneLine(stderr, /text: is not a directory/);
  assert.equal(status, 8);
});

const IDENTITY = ["--image-id", "sample", "--image-version", "1"];

test("a named pipe: its writer may come later, and an interrupted run does not wait for it", async () => {
  const waiting = startAshlar(["seal", `tar:${at("pipe")}`, "-o", at("out"), ...IDENTITY, "--quiet"]);
  const result = ended(waiting);
  // It has opened the pipe when a writer that does not wait finds a reader.
  for (;;) {
    const { status } = spawnSync("dd", ["if=/dev/null", `of=${at("pipe")}`, "oflag=nonblock", "conv=notrunc"], {
      stdio: "ignore",
    });
    if (status === 0) break;
  }
  const { status, stderr } = await result;
  assert.equal(status, 3, stderr); // the writer brought nothing
  assertOneLine(stderr, /the archive ends at 0/);

  const interrupted = startAshlar(["seal", `tar:${at("pipe")}`, "-o", at("out"), ...IDENTITY, "--quiet"]);
  const end = ended(interrupted);
  const writer = spawn("sh", ["-c", `exec cat - >"$1"`, "sh", at("pipe")], { stdio: ["pipe", "ignore", "ignore"] });
  writer.stdin.on("error", () => {}); // the reader goes away
  // More than the pipes between hold: the command is reading.
  const part = tarBytes([{ name: "data", content: new Uint8Array(2 ** 20) }]).subarray(0, 2 ** 19);
  await new Promise((resolve) => writer.stdin.write(part, resolve));
  interrupted.kill("SIGTERM");
  assert.equal((await end).status, 143);
  writer.stdin.end();

  const sealing = run(["seal", `tar:${at("pipe")}`, "-o", at("piped"), ...IDENTITY, "--quiet"]);
  writeFileSync(at("archive"), tarBytes(SAMPLE_ENTRIES));
  spawn("sh", ["-c", `cat "$1" >"$2"`, "sh", at("archive"), at("pipe")]);
  const done = await sealing;
  assert.equal(done.status, 0, done.stderr);
});
