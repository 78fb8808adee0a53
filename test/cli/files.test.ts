// Looking inside: ls, cat and extract on an EROFS image and on a release; the disk follows the same path as the release.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { REPOSITORY } from "../support/roots.ts";
import {
  assertOneLine,
  isRoot,
  noise,
  type RunOptions,
  run,
  runOk,
  SAMPLE_ENTRIES,
  sampleLayout,
  workFolder,
} from "../support/samples.ts";

const folder = workFolder({ after });
const image = join(folder, "out/sample_1.root.erofs");
const release = join(folder, "out/sample_1.release.json");

before(async () => {
  chmodSync(folder, 0o777);
  await sampleLayout(join(folder, "layout"));
  await runOk(["seal", `oci:${join(folder, "layout")}`, "-o", join(folder, "out"), "--quiet"]);
});

const lines = async (...args: string[]): Promise<string[]> => (await runOk(args)).stdout.trimEnd().split("\n");

test("ls lists names in byte order, and what a terminal must not get as escapes", async () => {
  const expected = [
    ...["absolute", "bin", "closed", "disk", "empty", "esc\\x1b[31m\\x0ared", "etc", "fifo", "grün", "hard", "long"],
    ...["not-utf8-\\xff", "null", "outside", "round", "sparse", "sticky", "txt.\\xe2\\x80\\xaeexe", "usr", "xattr"],
  ];
  assert.deepEqual(await lines("ls", image), expected);
  assert.deepEqual(await lines("ls", release, "/"), expected);
  assert.deepEqual(await lines("ls", image, ""), expected);
});

test("ls follows links in a path and lists a file by its path", async () => {
  assert.deepEqual(await lines("ls", image, "bin"), ["set-id", "tool"]);
  assert.deepEqual(await lines("ls", image, "/bin/../bin/./tool"), ["usr/bin/tool"]);
  assert.deepEqual(await lines("ls", image, "/outside"), ["etc/motd"]);
  assert.deepEqual(await lines("ls", image, "grün"), ["grün"]);
});

test("ls -l is like that of coreutils", async () => {
  const long = await lines("ls", "-l", image);
  const line = (name: string): string | undefined => long.find((text) => text.includes(` ${name}`));
  assert.match(line("hard")!, /^-rwxr-xr-x +2 0:0 +70000 2025-01-01T00:00:00Z hard$/);
  assert.match(line("sticky")!, /^drwxrwxrwt +2 0:0 +- /);
  assert.match(line("closed")!, /^d--------- +2 /);
  assert.match(line("absolute")!, /^lrwxrwxrwx .* absolute -> \/etc\/motd$/);
  assert.match(line("disk")!, /^brw-rw---- +1 0:6 +259, 70000 /);
  assert.match(line("fifo")!, /^prw------- /);
  const etc = await lines("ls", "-l", image, "/etc");
  assert.match(etc.join("\n"), /^-rw-r----- +1 12:34 +6 2020-09-13T12:26:40\.123456\d{3}Z motd$/m);
  assert.match(etc.join("\n"), /1969-12-31T23:59:58\.500000000Z old$/m);
  assert.match((await lines("ls", "-l", image, "/usr/bin"))[0]!, /^-rwsr-sr-x /);
});

test("ls -R shows every name once, --json the rest", async () => {
  const paths = await lines("ls", "-R", image);
  assert.equal(new Set(paths).size, paths.length);
  assert.ok(paths.includes("closed/inside") && paths.includes(`${"long/".repeat(40)}name`));
  const { schema, entries } = JSON.parse((await runOk(["ls", "-R", "--json", image])).stdout);
  assert.equal(schema, "ashlar.ls/v1");
  assert.equal(entries.length, paths.length);
  const byPath = new Map(entries.map((entry: { path: string }) => [entry.path, entry]));
  assert.deepEqual(byPath.get("xattr"), {
    path: "xattr",
    type: "file",
    mode: "0444",
    uid: 0,
    gid: 0,
    mtime: "2025-01-01T00:00:00Z",
    links: 1,
    size: 1,
    xattrs: { "user.ashlar": "0001ff" },
  });
});

test("what is not there, or is not what it should be", async () => {
  for (const [args, message] of [
    [["ls", image, "/nothing"], /sample_1\.root\.erofs: \/nothing: no such file/],
    [["ls", image, "/etc/motd/x"], /\/etc\/motd\/x: no such file/],
    [["ls", image, "/round"], /\/round: /],
    [["cat", image, "/etc"], /\/etc: is a directory, not a regular file/],
    [["cat", image, "/null"], /\/null: is a character/],
    [["ls", join(folder, "none.erofs")], /none\.erofs: no such file/],
    [["ls", folder], /: is a directory/],
    [["ls", image, "/\x1b[2J"], /\\u001b\[2J: no such file/],
    [["extract", image, join(folder, "new"), "--path", "/etc/motd"], /\/etc\/motd: is a file, not a directory/],
  ] as const) {
    const { status, stderr, stdout } = await run(args);
    assertOneLine(stderr, message);
    assert.equal(status, 7, args.join(" "));
    assert.equal(stdout, "");
  }
  writeFileSync(join(folder, "text"), "no image at all\n".repeat(1000));
  const { status, stderr } = await run(["ls", join(folder, "text")]);
  assertOneLine(stderr, /text: is neither an EROFS image nor a disk/);
  assert.equal(status, 3);
});

test("cat prints bytes as they are", async () => {
  const command = join(REPOSITORY, "ashlar");
  const { stdout } = spawnSync(command, ["cat", image, "/bin/tool"]);
  assert.ok(stdout.equals(noise(70_000, "tool")));
  assert.equal(spawnSync(command, ["cat", release, "/absolute"], { encoding: "utf8" }).stdout, "hello\n");
  const sparse = spawnSync(command, ["cat", image, "sparse"], { maxBuffer: 1 << 26 }).stdout;
  assert.equal(sparse.length, (2 << 20) + 5000);
  const document = JSON.parse((await runOk(["cat", "--json", image, "/etc/motd"])).stdout);
  assert.equal(document.schema, "ashlar.cat/v1");
  assert.equal(Buffer.from(document.content, "base64").toString(), "hello\n");
});

test("output that goes away, is full or is closed", () => {
  const shell = (script: string) =>
    spawnSync("bash", ["-c", `set -o pipefail; ${script}`, "bash", join(REPOSITORY, "ashlar"), image], {
      encoding: "utf8",
      timeout: 300_000,
    });
  const piped = shell(`"$1" cat "$2" sparse | head -c1 | wc -c`);
  assert.deepEqual([piped.status, piped.stdout.trim(), piped.stderr], [0, "1", ""]);
  assert.equal(shell(`"$1" ls -lR "$2" | head -n1`).stderr, "");
  for (const command of [`"$1" ls "$2"`, `"$1" cat "$2" sparse`]) {
    const full = shell(`${command} >/dev/full`);
    assertOneLine(full.stderr, /standard output: .*no space/i);
    assert.equal(full.status, 8);
  }
  assert.equal(shell(`"$1" ls "$2" >&- <&-`).status, 0);
  assert.equal(shell(`"$1" ls "$2" 2>&- <&-`).status, 0);
});

/** Types, modes, owners, times, link counts, device numbers, content and targets, as other programs see them. */
function describe(directory: string): string[] {
  const format = "%P|%y|%m|%U:%G|%T@|%n|%l\\n";
  const { stdout } = spawnSync("find", [directory, "-mindepth", "1", "-printf", format], { encoding: "latin1" });
  return stdout.trimEnd().split("\n").sort();
}

test("extract as root restores everything", async (t) => {
  if (!isRoot) return t.skip("needs root");
  for (const [index, from] of [image, release].entries()) {
    const out = join(folder, `tree-${index}`);
    const { stderr } = await runOk(["extract", from, out]);
    assert.doesNotMatch(stderr, /not-restored/);
    const at = (name: string) => lstatSync(join(out, name), { bigint: true });
    assert.deepEqual([at("usr/bin/set-id").mode & 0o7777n, at("sticky").mode & 0o7777n], [0o6755n, 0o1777n]);
    assert.deepEqual([at("closed").mode & 0o7777n, at("etc/motd").uid, at("etc/motd").gid], [0n, 12n, 34n]);
    assert.match(String(at("etc/motd").mtimeNs), /^1600000000123456\d{3}$/);
    assert.equal(at("etc/old").mtimeNs, -1_500_000_000n);
    assert.equal(at("etc").mtimeNs, 1_700_000_000_250_000_000n);
    assert.equal(at("absolute").mtimeNs, 1_735_689_600_000_000_000n);
    assert.equal(at("hard").ino, at("usr/bin/tool").ino);
    assert.ok(at("null").isCharacterDevice() && at("disk").isBlockDevice() && at("fifo").isFIFO());
    assert.equal(spawnSync("stat", ["-c", "%t:%T", join(out, "disk")], { encoding: "utf8" }).stdout, "103:11170\n");
    assert.equal(readlinkSync(join(out, "outside")), "../../../../../etc/motd");
    assert.ok(readFileSync(join(out, "usr/bin/tool")).equals(noise(70_000, "tool")));
    assert.ok(at("sparse").blocks * 512n < 100_000n, "holes stay holes");
    const xattr = spawnSync("getfattr", ["-e", "hex", "-n", "user.ashlar", join(out, "xattr")], { encoding: "utf8" });
    if (xattr.error === undefined) assert.match(xattr.stdout, /user\.ashlar=0x0001ff/);
    const names = readdirSync(out, { encoding: "buffer" }).map((name) => name.toString("latin1"));
    assert.ok(names.includes("not-utf8-\xff"));
  }
  assert.deepEqual(describe(join(folder, "tree-0")), describe(join(folder, "tree-1")));
});

test("extract as an ordinary user keeps what it may and says what it may not", async () => {
  const ordinary: RunOptions = { ordinary: true, umask: "0777" };
  const out = join(folder, "ordinary");
  const { stderr } = await runOk(["extract", image, out], ordinary);
  for (const what of ["owners", "set-id bits", "device nodes"])
    assert.match(stderr, new RegExp(`${what}.* not restored`));
  assert.doesNotMatch(stderr, /extended attributes/); // though the file is read-only
  // A set-id program of the user who extracts would give that user's rights to everybody.
  assert.equal(lstatSync(join(out, "usr/bin/set-id")).mode & 0o7777, 0o755);
  assert.equal(lstatSync(join(out, "etc")).mode & 0o7777, 0o750);
  assert.equal(lstatSync(join(out, "etc/old"), { bigint: true }).mtimeNs, -1_500_000_000n);
  assert.throws(() => lstatSync(join(out, "null")), /ENOENT/);
  const { notes } = JSON.parse((await runOk(["extract", image, join(folder, "json"), "--json"], ordinary)).stdout);
  assert.ok(notes.every(({ code }: { code: string }) => code === "not-restored"));
});

test("extract --path, into what is there", async () => {
  const out = join(folder, "part");
  await runOk(["extract", image, out, "--path", "/bin", "--quiet"]);
  assert.deepEqual(readdirSync(out), ["set-id", "tool"]);
  const { status, stderr } = await run(["extract", image, out, "--quiet"]);
  assertOneLine(stderr, /part: is not empty/);
  assert.equal(status, 8);
  assert.deepEqual(readdirSync(out), ["set-id", "tool"]);
  const file = await run(["extract", image, image, "--quiet"]);
  assertOneLine(file.stderr, /sample_1\.root\.erofs: /);
  assert.equal(file.status, 8);
});

test("extract of what turns out to be corrupt leaves nothing behind", async () => {
  const bad = join(folder, "bad");
  spawnSync("cp", ["-r", join(folder, "out"), bad]);
  const bytes = readFileSync(join(bad, "sample_1.root.erofs"));
  const at = bytes.indexOf(noise(70_000, "tool").subarray(0, 64));
  bytes[at + 5]! ^= 1;
  writeFileSync(join(bad, "sample_1.root.erofs"), bytes);
  mkdirSync(join(folder, "there"));
  for (const out of ["not/there", "there"]) {
    const { status, stderr } = await run(["extract", join(bad, "sample_1.release.json"), join(folder, out), "--quiet"]);
    assertOneLine(stderr, /block \d+/);
    assert.equal(status, 5);
  }
  assert.deepEqual(readdirSync(join(folder, "there")), []);
  assert.ok(!readdirSync(folder).includes("not"));
  assert.ok(SAMPLE_ENTRIES.length > 0);
});
