// A whole build against other people's programs: the kernel, umoci, fsck, veritysetup, sfdisk, ukify, systemd.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, type TestContext, test } from "node:test";
import { ashlarOk, type ReleaseFile, readRelease } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { oracle, requireOracle } from "../support/oracle.ts";

const MIB = 1024 * 1024;
const SIZES = ["--esp-size", "300M", "--slot-size", "512M", "--var-size", "64M"];
const ESP_SIZE = 300 * MIB;

let folder = "";
let release: ReleaseFile;
const at = (name: string): string => join(folder, name);
const disk = (): string => at("ashlar-test_1.raw");
const erofs = (): string => at("ashlar-test_1.root.erofs");
const verity = (): string => at("ashlar-test_1.root.verity");
const uki = (): string => at("ashlar-test_1.efi");

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "ashlar-build-"));
  ashlarOk(["build", `oci:${await debianLayout("trixie")}`, "-o", folder, "--quiet", ...SIZES]);
  release = readRelease(at("ashlar-test_1.release.json"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Skips at home, fails in CI: for what needs root rather than a program. */
function requireRoot(t: TestContext): boolean {
  if (process.getuid?.() === 0) return true;
  if (process.env["CI"]) throw new Error("needs root");
  t.skip("needs root");
  return false;
}

for (const from of ["host", "tools"] as const)
  test(`fsck.erofs (${from}) finds nothing`, async (t) => {
    const fsck = requireOracle(t, "fsck.erofs", { from });
    await fsck?.ok([erofs()]);
  });

/** One line a path, a part of a fact: what `find`, `getfattr` and `sha256sum` say of a tree. */
function facts(root: string): Map<string, string> {
  const script = `cd "$1" || exit 1
find . -type d -printf '%P\\0%y %m %U:%G %T@ %n\\0' -o -printf '%P\\0%y %m %U:%G %T@ %n %s [%l]\\0'
printf '\\1\\0'
find . \\( -type b -o -type c \\) -exec stat --printf '%n\\0%t:%T\\0' {} +
printf '\\1\\0'
find . -type f -print0 | xargs -0 sha256sum -z
printf '\\1\\0'
getfattr -Rhd -m - -e hex . 2>/dev/null`;
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script, "sh", root], { maxBuffer: 1024 * MIB });
  assert.equal(status, 0, stderr.toString());
  const [names = "", devices = "", digests = "", xattrs = ""] = stdout.toString("latin1").split("\x01\0");
  const result = new Map<string, string>();
  const add = (path: string, fact: string): void => {
    const key = path.replace(/^\.\//, "");
    result.set(key, `${result.get(key) ?? ""} ${fact}`);
  };
  for (const line of digests.split("\0")) if (line !== "") add(line.slice(66), line.slice(0, 64)); // hex, two spaces, path
  for (const text of [names, devices]) {
    const parts = text.split("\0");
    for (let i = 0; i + 1 < parts.length; i += 2) add(parts[i]!, parts[i + 1]!); // pairs
  }
  for (const block of xattrs.split("\n\n")) {
    const [head = "", ...lines] = block.split("\n");
    if (head !== "") add(head.replace("# file: ", ""), lines.sort().join(" "));
  }
  return result;
}

test("the mounted root differs from what umoci unpacks only by the documented normalisations", async (t) => {
  const umoci = requireOracle(t, "umoci", { from: "tools" });
  if (umoci === undefined || !requireRoot(t)) return;
  const bundle = at("bundle");
  const mount = at("mount");
  mkdirSync(mount);
  const started = Math.floor(Date.now() / 1000);
  await umoci.ok(["unpack", "--image", `${await debianLayout("trixie")}:latest`, bundle]);
  const mounted = spawnSync("mount", ["-t", "erofs", "-o", "loop,ro", erofs(), mount], { encoding: "utf8" });
  assert.equal(mounted.status, 0, mounted.stderr);
  let actual: Map<string, string>;
  try {
    actual = facts(mount);
  } finally {
    spawnSync("umount", [mount]);
  }
  const expected = facts(join(bundle, "rootfs"));
  rmSync(bundle, { recursive: true, force: true });

  const created = Date.parse("2025-01-01T00:00:00Z") / 1000; // the creation time of the test image is the clamp
  const TIME = / (\d+)\.\d{10} /;
  const secondsOf = (fact: string): number => Number(TIME.exec(fact)?.[1]);
  /** What umoci's fact should read in ours. It stamps directories that no layer names, and their parents, with the time of unpacking. */
  const expectedOf = (theirs: string, ours: string): string => {
    if (secondsOf(theirs) >= started) return theirs.replace(TIME, TIME.exec(ours)?.[0] ?? "");
    return secondsOf(theirs) >= created ? theirs.replace(TIME, ` ${created}.0000000000 `) : theirs;
  };
  const differences: string[] = [];
  for (const path of new Set([...actual.keys(), ...expected.keys()])) {
    const ours = actual.get(path);
    const theirs = expected.get(path);
    if (ours === undefined || theirs === undefined || ours !== expectedOf(theirs, ours)) differences.push(path);
  }
  const documented = [
    /^(boot|dev|efi|proc|run|sys|tmp)(\/|$)/,
    /^etc\/machine-id$/,
    /^var\/lib\/dbus\/machine-id$/,
    /^etc\/fstab$/,
    /^usr\/lib\/os-release$/,
    /^var\/lib\/systemd\/(random-seed|credential\.secret)$/,
    /^$/,
  ];
  assert.deepEqual(
    differences
      .filter((path) => !documented.some((rule) => rule.test(path)))
      .slice(0, 20)
      .map((path) => `${path}:${actual.get(path)} /${expected.get(path)}`),
    [],
  );
  assert.ok(actual.size > 3000);
});

test("veritysetup accepts the pair and makes the same bytes", async (t) => {
  const veritysetup = requireOracle(t, "veritysetup");
  if (veritysetup === undefined) return;
  await veritysetup.ok(["verify", erofs(), verity(), release.rootHash]);
  const { salt, uuid } = (release as ReleaseFile & { verity: { salt: string; uuid: string } }).verity;
  const { stdout } = await veritysetup.ok(["format", `--salt=${salt}`, `--uuid=${uuid}`, erofs(), at("theirs")]);
  assert.match(stdout, new RegExp(`Root hash:\\s+${release.rootHash}`));
  assert.ok(readFileSync(at("theirs")).equals(readFileSync(verity())));
});

test("sfdisk and fsck.vfat find nothing", async (t) => {
  const sfdisk = requireOracle(t, "sfdisk");
  const fsck = requireOracle(t, "fsck.vfat");
  if (sfdisk === undefined || fsck === undefined) return;
  const { stdout, stderr } = await sfdisk.ok(["--verify", disk()]);
  assert.match(stdout + stderr, /No errors detected/);
  spawnSync("dd", [`if=${disk()}`, `of=${at("esp")}`, "bs=1M", "skip=1", `count=${ESP_SIZE / MIB}`, "conv=sparse"]);
  await fsck.ok(["-n", at("esp")]);
});

test("systemd-dissect accepts the disk", async (t) => {
  const host = requireOracle(t, "systemd-dissect", { from: "host" });
  if (host !== undefined) {
    const { stdout } = await host.run([disk()]);
    t.diagnostic(`${stdout.split("\n").length} lines`);
  }
  const tools = requireOracle(t, "systemd-dissect", { from: "tools" });
  await tools?.ok(["--validate", disk()]);
});

test("ukify reads the UKI, systemd-measure its parts", async (t) => {
  const ukify = requireOracle(t, "ukify", { from: "tools" });
  if (ukify !== undefined) {
    const { stdout } = await ukify.ok(["inspect", uki(), "--json=short"]);
    const sections = JSON.parse(stdout) as Record<string, { size: number; text?: string }>;
    assert.ok(sections[".cmdline"]?.text?.includes(`roothash=${release.rootHash}`), stdout);
    assert.equal(sections[".uname"]?.text?.trim(), release.kernelVersion);
    for (const name of [".linux", ".initrd", ".osrel", ".sbat"]) assert.ok((sections[name]?.size ?? 0) > 0, name);
  }
  const measure = oracle("systemd-measure", { from: "tools" });
  const objcopy = requireOracle(t, "objcopy", { from: "tools" });
  if (measure === undefined || objcopy === undefined) return;
  copyFileSync(uki(), at("copy.efi"));
  const parts = ["linux", "osrel", "cmdline", "initrd", "uname", "sbat"];
  for (const part of parts) await objcopy.ok(["-O", "binary", `--only-section=.${part}`, at("copy.efi"), at(part)]);
  await measure.ok(["calculate", ...parts.map((part) => `--${part}=${at(part)}`)]);
});
