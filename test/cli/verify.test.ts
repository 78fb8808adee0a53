// verify names what is wrong and goes on; a release cannot lead it astray, and neither can a disk.
import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isAshlarError } from "@ashlar/core/errors";
import { readTree } from "@ashlar/core/formats/erofs";
import { inlineBlockHasher } from "@ashlar/core/hash";
import { createBlockHasher, nodeHashes, openFile } from "@ashlar/core/node";
import { silentReporter } from "@ashlar/core/ops";
import { openDisk, openRoot } from "@ashlar/core/ops/disk";
import { verifyDisk } from "@ashlar/core/ops/verify";
import type { Source } from "@ashlar/core/source";
import { debianLayout } from "../support/debian.ts";
import { startEffort } from "../support/effort.ts";
import { findRoot } from "../support/roots.ts";
import { assertOneLine, run, runOk, sampleLayout, workFolder } from "../support/samples.ts";
import { flipBit } from "../support/tamper.ts";

const folder = workFolder({ after });
const hasDebian = findRoot("trixie") !== undefined;
const needsDebian = { skip: hasDebian ? false : "no trixie root; run scripts/fetch-roots trixie" };
const disk = join(folder, "system/ashlar-test_1.raw");
const MIB = 1 << 20;

before(async () => {
  await sampleLayout(join(folder, "layout"));
  await runOk(["seal", `oci:${join(folder, "layout")}`, "-o", join(folder, "good"), "--quiet"]);
  if (!hasDebian) return;
  const sizes = ["--esp-size", "128M", "--slot-size", "512M", "--var-size", "64M", "--quiet"];
  await runOk(["build", `oci:${await debianLayout("trixie")}:latest`, "-o", join(folder, "system"), ...sizes]);
});

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
}
let count = 0;

// biome-ignore lint/suspicious/noExplicitAny: a document that tests change at will
type AnyRelease = any;

/** A copy of the sealed sample with one thing changed, and what verify says of it. */
async function verifyChanged(change: (at: (name: string) => string) => unknown) {
  const copy = join(folder, `copy-${count++}`);
  cpSync(join(folder, "good"), copy, { recursive: true });
  await change((name) => join(copy, `sample_1.${name}`));
  const result = await run(["verify", join(copy, "sample_1.release.json"), "--json"]);
  const checks: Check[] = result.stdout === "" ? [] : JSON.parse(result.stdout).checks;
  return { ...result, checks, failed: checks.filter(({ ok }) => !ok).map(({ name }) => name) };
}

const changeRelease =
  (change: (release: AnyRelease) => unknown) =>
  (at: (name: string) => string): void => {
    const release = JSON.parse(readFileSync(at("release.json"), "utf8"));
    change(release);
    writeFileSync(at("release.json"), JSON.stringify(release));
  };

test("a sealed release that is as it was", async () => {
  const { status, failed, checks } = await verifyChanged(() => undefined);
  assert.deepEqual([status, failed], [0, []]);
  assert.deepEqual(
    checks.map(({ name }) => name),
    ["root: digest", "root-verity: digest", "root: hash tree", "root: EROFS"],
  );
});

const CHANGES: Readonly<Record<string, [change: (at: (name: string) => string) => unknown, failed: RegExp]>> = {
  "a flipped bit in the root": [(at) => flipBit(at("root.erofs"), 70_001), /^root: digest,root: hash tree$/],
  "a flipped bit in the head of the root": [(at) => flipBit(at("root.erofs"), 1100), /root: EROFS/],
  "a flipped bit in the hash tree": [(at) => flipBit(at("root.verity"), 4096 + 40), /^root-verity: digest,root: hash/],
  "a flipped bit in the verity superblock": [(at) => flipBit(at("root.verity"), 80), /^root-verity: digest/],
  "a truncated root": [(at) => truncateSync(at("root.erofs"), 65_536), /^root: digest,root: hash tree/],
  "a root that is gone": [(at) => rmSync(at("root.erofs")), /^root: digest$/],
  "a root that is longer": [(at) => truncateSync(at("root.erofs"), 64 * MIB), /^root: digest/],
  "an empty hash device": [(at) => truncateSync(at("root.verity"), 0), /^root-verity: digest,root: hash tree/],
  "another root hash": [changeRelease((r) => (r.rootHash = "ab".repeat(32))), /^root: hash tree/],
  "another salt": [changeRelease((r) => (r.verity.salt = "00")), /^root: hash tree/],
  "another digest": [changeRelease((r) => (r.artifacts[0].digest = `sha256:${"0".repeat(64)}`)), /^root: digest$/],
  "another size": [changeRelease((r) => r.artifacts[1].size++), /^root-verity: digest$/],
  "no artifacts at all": [changeRelease((r) => (r.artifacts = [])), /^release: artifacts$/],
  "no root": [changeRelease((r) => r.artifacts.shift()), /^release: artifacts$/],
  "a system without disk and UKI": [changeRelease((r) => (r.commandLine = "quiet")), /^release: artifacts$/],
};
for (const [what, [change, expected]] of Object.entries(CHANGES))
  test(`verify finds ${what}`, async () => {
    const { status, stderr, checks, failed } = await verifyChanged(change);
    assert.equal(status, 5, stderr);
    assert.match([...new Set(failed)].join(","), expected);
    assert.equal(stderr, "");
    if (!what.startsWith("no artifacts"))
      assert.ok(
        checks.some(({ ok }) => ok),
        "the other checks are listed",
      );
  });

const REFUSED: Readonly<Record<string, [change: (release: AnyRelease) => unknown, message: RegExp, exit?: number]>> = {
  "an absolute artifact name": [(r) => (r.artifacts[0].name = "/etc/passwd"), /artifacts\.0\.name: is not a file name/],
  "an artifact name with ..": [(r) => (r.artifacts[0].name = "../good/sample_1.root.erofs"), /is not a file name/],
  "an artifact named ..": [(r) => (r.artifacts[0].name = ".."), /artifacts\.0\.name/],
  "an artifact name with NUL": [(r) => (r.artifacts[0].name = "a\0b"), /is not a file name/],
  "two roots": [(r) => (r.artifacts[1].role = "root"), /two artifacts have one role/],
  "one file for both": [(r) => (r.artifacts[1].name = r.artifacts[0].name), /two artifacts have one name/],
  "a negative size": [(r) => (r.artifacts[0].size = -1), /artifacts\.0\.size/],
  "an absurd block size": [(r) => (r.verity.dataBlockSize = 2 ** 40), /verity\.dataBlockSize/],
  "a block size that is no power of two": [(r) => (r.verity.hashBlockSize = 4095), /verity\.hashBlockSize/],
  "an empty root hash": [(r) => (r.rootHash = ""), /rootHash/],
  "a salt that is too long": [(r) => (r.verity.salt = "00".repeat(257)), /verity\.salt/],
  "a UUID that is none": [(r) => (r.verity.uuid = "x"), /verity\.uuid/],
  "a newer schema": [(r) => (r.schema = "ashlar.release/v9"), /newer than this Ashlar/, 4],
};
for (const [what, [change, message, exit = 3]] of Object.entries(REFUSED))
  test(`a release with ${what} is refused by every command`, async () => {
    const copy = join(folder, `copy-${count++}`);
    cpSync(join(folder, "good"), copy, { recursive: true });
    const path = join(copy, "sample_1.release.json");
    changeRelease(change)(() => path);
    for (const args of [
      ["verify", path],
      ["ls", path],
      ["cat", path, "/etc/motd"],
      ["extract", path, `${copy}-x`],
    ]) {
      const { status, stderr } = await run([...args, ...(args[0] === "verify" ? ["--quiet"] : [])]);
      assertOneLine(stderr, message);
      assert.equal(status, exit);
    }
  });

test("an artifact that is a link is not followed", async () => {
  const { status, checks } = await verifyChanged((at) => {
    rmSync(at("root.erofs"));
    symlinkSync(join(folder, "good/sample_1.root.erofs"), at("root.erofs"));
  });
  assert.equal(status, 5);
  assert.match(checks.find(({ ok }) => !ok)!.message, /symbolic link/);
});

test("words of a release cannot forge lines of the report", async () => {
  const copy = join(folder, `copy-${count++}`);
  cpSync(join(folder, "good"), copy, { recursive: true });
  const path = join(copy, "sample_1.release.json");
  changeRelease((release) => {
    release.artifacts.push({ ...release.artifacts[0], role: "x\nok    root: \x1b[2J", name: "no\r\u202efile" });
  })(() => path);
  const { status, stdout } = await run(["verify", path, "--quiet"]);
  assert.equal(status, 5);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  assert.doesNotMatch(stdout, /[\0-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  assert.equal(stdout.split("\n").filter((line) => line.startsWith("ok ")).length, 4);
  assert.match(stdout, /^FAIL {2}x\\u000aok/m);
});

/** The disk with some bytes changed; the file stays as it is. */
function patched(source: Source, patches: ReadonlyMap<number, number>): Source {
  return {
    size: source.size,
    async read(offset, length, options) {
      const bytes = new Uint8Array(await source.read(offset, length, options));
      for (const [at, mask] of patches) if (at >= offset && at < offset + length) bytes[at - offset]! ^= mask;
      return bytes;
    },
  };
}

test("a disk: what is changed is named, the rest is still checked", { ...needsDebian, timeout: 600_000 }, async () => {
  await using source = await openFile(disk);
  await using hasher = createBlockHasher({ workers: 4 });
  const { gpt, ukis } = await openDisk(source);
  const environment = { hashes: nodeHashes, blockHasher: hasher, reporter: silentReporter, signal: undefined };
  const start = (name: string): number => gpt.partitions.find((partition) => partition.name === name)!.start;
  const [root, hashDevice, esp] = [start("ashlar-test_1"), start("ashlar-test_1_verity"), start("esp")];
  assert.equal(ukis.length, 1);
  const whole = await verifyDisk(source, environment);
  assert.deepEqual(
    whole.checks.filter(({ ok }) => !ok),
    [],
  );
  for (const [what, at, expected] of [
    ["data", root + 5 * MIB + 17, /^EFI\/Linux\/ashlar-test_1\.efi: hash tree$/],
    ["hash tree", hashDevice + 4096 + 33, /hash tree$/],
    ["primary GPT header", 512 + 20, /^disk: partition tables$/],
    ["primary GPT entries", 1024 + 130, /^disk: partition tables$/],
    ["backup GPT header", source.size - 512 + 30, /^disk: partition tables$/],
    ["backup GPT entries", source.size - 512 - 16_384 + 40, /^disk: partition tables$/],
    ["FAT boot sector", esp + 13, /disk: ESP/],
  ] as const) {
    const { checks, ok } = await verifyDisk(patched(source, new Map([[at, 1]])), environment);
    assert.equal(ok, false, what);
    const failed = [...new Set(checks.filter((check) => !check.ok).map(({ name }) => name))];
    assert.match(failed.join(","), expected, what);
    assert.ok(checks.length > failed.length, what);
  }
});

test("hostile disks: a value or one of our errors", { ...needsDebian, timeout: 600_000 }, async (t) => {
  await using source = await openFile(disk);
  const { gpt } = await openDisk(source);
  const esp = gpt.partitions.find(({ name }) => name === "esp")!;
  // Where the structures are: both partition tables, the FAT's head, tables and directories, the start of the UKI.
  const areas = [
    [0, 17 * 1024],
    [source.size - 17 * 1024, 17 * 1024],
    [esp.start, 1024],
    [esp.start, 2 * MIB],
  ] as const;
  let state = 12345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const outcomes = { read: 0, refused: 0 };
  for (let i = 0; i < 200; i++) {
    const [start, size] = areas[i % areas.length]!;
    const patches = new Map(Array.from({ length: 1 + random(4) }, () => [start + random(size), 1 + random(255)]));
    const effort = startEffort();
    try {
      const changed = patched(source, patches);
      await openDisk(changed);
      if (i % 20 === 0) await readTree((await openRoot(changed, "disk", inlineBlockHasher(nodeHashes))).image);
      outcomes.read++;
    } catch (error) {
      if (!isAshlarError(error)) throw new Error(`patches ${JSON.stringify([...patches])}`, { cause: error });
      outcomes.refused++;
    }
    assert.ok(effort() < 10_000, `too slow: ${JSON.stringify([...patches])}`);
  }
  t.diagnostic(JSON.stringify(outcomes));
});

// Last, since it damages the files.
test("the command on a disk and its release", { ...needsDebian, timeout: 600_000 }, async () => {
  const release = join(folder, "system/ashlar-test_1.release.json");
  await runOk(["verify", release, "--quiet"]);
  assert.match((await runOk(["cat", disk, "/etc/os-release"])).stdout, /^IMAGE_ID=ashlar-test$/m);
  assert.match((await runOk(["ls", "-l", disk, "/usr/share/ashlar-test/l"])).stdout, /not-utf8-\\xff\\xfe/);
  await flipBit(join(folder, "system/ashlar-test_1.efi"), 300_000);
  const flipped = await run(["verify", release, "--quiet"]);
  assert.equal(flipped.status, 5);
  assert.match(flipped.stdout, /^FAIL {2}uki: digest: ashlar-test_1\.efi/m);
  assert.match(flipped.stdout, /^ok {4}disk: digest/m);
  truncateSync(disk, 200 * MIB);
  const cut = await run(["verify", disk, "--quiet"]);
  assert.equal(cut.status, 5, cut.stderr);
  assert.match(cut.stdout, /^FAIL {2}disk: partition tables/m);
  truncateSync(disk, 0);
  const empty = await run(["verify", disk, "--quiet"]);
  assert.equal(empty.status, 4);
  assertOneLine(empty.stderr, /is empty/);
});
