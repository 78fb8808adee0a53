/** `ashlar inspect` on everything that a build yields, under names that say nothing. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ashlar, ashlarOk, type ReleaseFile, readRelease } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { archiveLayout, writeLayout } from "../support/oci.ts";
import { tarBytes } from "../support/tar.ts";

let work = "";
let image = "";
let release: ReleaseFile;
const out = () => join(work, "out");

/** The file under a name without meaning. */
function nameless(name: string): string {
  const path = join(work, `thing-${name.replaceAll(/[^a-z0-9]/g, "")}`);
  try {
    symlinkSync(join(out(), name), path);
  } catch {
    // there already
  }
  return path;
}

/** JSON of `ashlar inspect`; a test says what it expects of it. */
// biome-ignore lint/suspicious/noExplicitAny: documents of eight kinds, each looked into in one place
function inspect(...args: readonly string[]): any {
  const document = JSON.parse(ashlarOk(["inspect", "--json", ...args]).stdout) as Record<string, unknown>;
  assert.equal(document["schema"], "ashlar.inspect/v1");
  return document;
}
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

function cut(path: string, start: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const file = openSync(path, "r");
  readSync(file, bytes, 0, size, start);
  closeSync(file);
  return bytes;
}

before(async () => {
  work = await mkdtemp(join(tmpdir(), "ashlar-inspect-"));
  image = `oci:${await debianLayout("trixie")}`;
  ashlarOk(["build", "--quiet", image, "-o", out(), "--name", "os", "--image-id", "sample", "--image-version", "7"]);
  release = readRelease(join(out(), "os.release.json"));
});
after(() => rm(work, { recursive: true, force: true }));

test("release: what it says, and whether its artifacts are there", () => {
  const report = inspect(join(out(), "os.release.json"));
  assert.equal(report.kind, "release");
  assert.equal(report.release.rootHash, release.rootHash);
  assert.deepEqual(
    report.artifacts.map(({ role, state }: Record<string, string>) => `${role} ${state}`),
    ["disk present", "root present", "root-verity present", "uki present"],
  );
});

test("disk: partitions, ESP, UKI, and which slot its root hash names", () => {
  const report = inspect(nameless("os.raw"));
  assert.equal(report.kind, "disk");
  assert.deepEqual(
    report.partitions.map(({ designator }: Record<string, string>) => designator),
    ["esp", "root", "root-verity", "root-verity-sig", "root", "root-verity", "root-verity-sig", "var"],
  );
  const [esp, root, verity, , free] = report.partitions;
  assert.equal(esp.use, "boot: 1 UKI");
  assert.equal(root.use, "slot A, root of /EFI/Linux/sample_7.efi");
  assert.equal(verity.use, "slot A, hash device of /EFI/Linux/sample_7.efi");
  assert.equal(free.use, "slot B, root, free");
  assert.equal(verity.content.rootHash, release.rootHash);
  assert.equal(root.content.system.imageVersion, "7");
  assert.equal(report.esp.ukis[0].rootHash, release.rootHash);
  assert.equal(report.esp.ukis[0].kernelVersion, release.kernelVersion);
  assert.deepEqual(report.tables, { primary: true, backup: true });
  assert.deepEqual(report.problems, []);
  const { stdout } = ashlarOk(["inspect", nameless("os.raw")]);
  assert.match(stdout, /├─ 2: root \(x86-64\) "sample_7", .* slot A, root of \/EFI\/Linux\/sample_7\.efi\n/);
  assert.match(stdout, /packages: \d+ \(dpkg\)/);

  const volume = join(work, "volume");
  writeFileSync(volume, cut(join(out(), "os.raw"), esp.start, Math.min(esp.size, 128 << 20)));
  // Only its start: a volume that is cut off is one of our errors.
  assert.equal(ashlar(["inspect", volume]).status, 3);
});

test("EFI system partition alone", () => {
  const [esp] = inspect(nameless("os.raw")).partitions;
  const volume = join(work, "esp");
  writeFileSync(volume, cut(join(out(), "os.raw"), esp.start, esp.size));
  const report = inspect(volume);
  assert.equal(report.kind, "fat");
  const uki = report.files.find(({ path }: { path: string }) => path === "/EFI/Linux/sample_7.efi");
  assert.equal(uki.digest, release.artifacts.find(({ role }) => role === "uki")?.digest);
});

test("EROFS image: space that adds up, digest, system, packages", () => {
  const report = inspect(nameless("os.root.erofs"));
  const artifact = release.artifacts.find(({ role }) => role === "root");
  assert.equal(report.kind, "erofs");
  assert.equal(report.size, artifact?.size);
  assert.equal(report.digest, artifact?.digest);
  assert.equal(
    report.space.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0),
    report.size,
  );
  assert.equal(report.system.imageId, "sample");
  assert.deepEqual(report.packages.managers, ["dpkg"]);
});

test("hash device: root hash from the top of the tree", () => {
  const report = inspect(nameless("os.root.verity"));
  assert.equal(report.kind, "verity");
  assert.equal(report.rootHash, release.rootHash);
  assert.equal(report.digest, release.artifacts.find(({ role }) => role === "root-verity")?.digest);
});

test("UKI: sections with digests, texts, PCR 11; its initrd and kernel alone", () => {
  const path = nameless("os.efi");
  const report = inspect(path);
  const bytes = readFileSync(path);
  assert.equal(report.kind, "uki");
  assert.equal(report.digest, digestOf(bytes));
  assert.equal(report.program.name, "systemd-stub");
  assert.equal(report.rootHash, release.rootHash);
  assert.equal(report.system.imageId, "sample");
  assert.equal(report.pcr11.length, 5);
  assert.match(report.pcr11[0].value, /^[0-9a-f]{64}$/);
  const section = (name: string) => {
    const found = report.sections.find((entry: { name: string }) => entry.name === name);
    const content = bytes.subarray(found.rawOffset, found.rawOffset + found.virtualSize);
    assert.equal(found.digest, digestOf(content), name);
    return content;
  };
  const initrd = join(work, "section-a");
  writeFileSync(initrd, section(".initrd"));
  const inside = inspect(initrd);
  assert.equal(inside.kind, "initrd");
  assert.equal(inside.entries, report.initrd.entries);
  assert.match(inside.init, /systemd$/);
  assert.ok(inside.biggest.length > 0);
  const kernel = join(work, "section-b");
  writeFileSync(kernel, section(".linux"));
  assert.equal(inspect(kernel).kind, "pe");
  const { stdout } = ashlarOk(["inspect", path]);
  assert.match(stdout, new RegExp(`root hash: ${release.rootHash}`));
});

test("OCI: manifest and layers; the same by directory and by archive", async () => {
  const report = inspect(image);
  assert.equal(report.kind, "oci-image");
  assert.equal(report.image.layers.length, 4);
  assert.equal(report.image.platform, "linux/amd64");
  assert.ok(report.image.labels["org.opencontainers.image.title"]);
  assert.deepEqual(inspect(image.slice("oci:".length)).image, report.image, "a directory that holds a layout");
});

test("OCI index: all platforms, also without one for this machine", async () => {
  const layer = { tar: tarBytes([{ name: "etc/x", content: "x" }]) };
  const both = await writeLayout(join(work, "both"), [
    { layers: [layer], architecture: "amd64" },
    { layers: [layer], architecture: "arm64", variant: "v8" },
  ]);
  const report = inspect(`oci:${both.directory}`);
  assert.deepEqual(
    report.index.platforms.map(({ platform }: { platform: string }) => platform),
    ["linux/amd64", "linux/arm64/v8"],
  );
  assert.equal(report.image.platform, "linux/amd64");
  assert.equal(inspect("--platform", "linux/arm64", `oci:${both.directory}`).image.platform, "linux/arm64/v8");
  const none = inspect("--platform", "linux/riscv64", `oci:${both.directory}`);
  assert.equal(none.image, null);
  assert.equal(none.problems[0].code, "no-such-platform");
  const archive = join(work, "archive");
  archiveLayout(both.directory, archive);
  assert.equal(inspect(archive).index.platforms.length, 2, "a tar file, told by its content");
});

test("what is none of all, and what is not there", () => {
  const text = join(work, "text");
  writeFileSync(text, "hello\n");
  const { status, stderr } = ashlar(["inspect", text]);
  assert.equal(status, 3);
  assert.match(stderr, /is no release, disk, EROFS image/);
  assert.equal(ashlar(["inspect", join(work, "missing")]).status, 7);
  assert.equal(ashlar(["inspect", work]).status, 7);
  assert.equal(ashlar(["inspect", "ostree:debian"]).status, 4);
});
