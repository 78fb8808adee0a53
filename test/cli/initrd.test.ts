// What an update may leave alone: the initrd and the blocks of the UKI of two releases that differ in configuration.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { findSection, parsePe } from "../../core/src/formats/pe/index.ts";
import { ashlarOk, readRelease } from "../support/ashlar.ts";
import { debianLayout, LABELS } from "../support/debian.ts";
import type { TarEntry } from "../support/tar.ts";

const SIZES = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "64M"];

interface Built {
  readonly uki: Uint8Array;
  readonly rootHash: string;
}

async function build(
  t: TestContext,
  version: string,
  layer: readonly TarEntry[],
  flags: readonly string[] = [],
): Promise<Built> {
  const labels = { ...LABELS, "org.opencontainers.image.version": version };
  const layout = await debianLayout("trixie", { labels, extraLayers: layer.length === 0 ? [] : [layer] });
  const folder = mkdtempSync(join(tmpdir(), "ashlar-initrd-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  ashlarOk(["build", `oci:${layout}`, "-o", folder, "--quiet", ...SIZES, ...flags]);
  const stem = join(folder, `ashlar-test_${version}`);
  return { uki: readFileSync(`${stem}.efi`), rootHash: readRelease(`${stem}.release.json`).rootHash };
}

async function sectionOf({ uki }: Built, name: string): Promise<Uint8Array> {
  const section = findSection(await parsePe(uki), name);
  assert.ok(section, name);
  return section.content.read(0, section.content.size);
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** How many 4 KiB blocks of `b` are nowhere in `a`. */
function newBlocks(a: Uint8Array, b: Uint8Array): number {
  const blocks = function* (bytes: Uint8Array): Generator<string> {
    for (let at = 0; at < bytes.length; at += 4096) yield sha256(bytes.subarray(at, at + 4096));
  };
  const known = new Set(blocks(a));
  return [...blocks(b)].filter((block) => !known.has(block)).length;
}

test("two releases that differ in a configuration file have the same initrd, byte for byte", async (t) => {
  const one = await build(t, "1", []);
  const two = await build(t, "2", [{ name: "etc/ssh/sshd_config.d/50-local.conf", content: "PermitRootLogin no\n" }]);
  assert.notEqual(one.rootHash, two.rootHash);
  assert.equal(sha256(await sectionOf(one, ".initrd")), sha256(await sectionOf(two, ".initrd")));
  assert.equal(sha256(await sectionOf(one, ".linux")), sha256(await sectionOf(two, ".linux")));
  assert.ok(newBlocks(one.uki, two.uki) <= 3, "headers, os-release and command line alone are new");
});

test("another command line is another UKI on the same root", async (t) => {
  const one = await build(t, "1", []);
  const two = await build(t, "1", [], ["--karg", "quiet"]);
  assert.equal(one.rootHash, two.rootHash);
  assert.notEqual(sha256(one.uki), sha256(two.uki));
});
