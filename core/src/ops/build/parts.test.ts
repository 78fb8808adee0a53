/** Identity, kernel, command line and geometry: the decisions of a build that need no large input. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../bytes/index.ts";
import { pureHashes } from "../../hash/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile } from "../../tree/index.ts";
import { identify, toImageVersion } from "../release/identity.ts";
import { verityParameters } from "../seal/seal.ts";
import { architectureOf } from "./architecture.ts";
import { planGeometry } from "./geometry.ts";
import { composeCommandLine, MAX_COMMAND_LINE, readKargs } from "./kargs.ts";
import { findKernel } from "./kernel.ts";
import { parseOsRelease, setOsRelease } from "./os-release.ts";

const MIB = 1024 * 1024;

function tree(files: Record<string, string>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, text] of Object.entries(files))
    putNode(root, path, regularFile(attributes(0o644), bytesSource(encodeUtf8(text))));
  return root;
}

const hasCode = (code: string) => (error: { code?: string; message: string }) => {
  assert.equal(error.code, code);
  assert.doesNotMatch(error.message, /\n/);
  return true;
};

test("identity: options before labels, each missing one named", () => {
  const labels = { "org.opencontainers.image.title": "os", "org.opencontainers.image.version": "1.2" };
  assert.deepEqual(identify({}, labels), { imageId: "os", imageVersion: "1.2" });
  assert.deepEqual(identify({ imageId: "mine", imageVersion: "3" }, labels), { imageId: "mine", imageVersion: "3" });
  assert.throws(() => identify({}, {}), hasCode("no-identity"));
  assert.throws(() => identify({ imageId: "os" }, {}), hasCode("no-identity"));
  for (const imageId of ["", "Os", "a_b", "a/b", "-a", "..", "a b"])
    assert.throws(() => identify({ imageId, imageVersion: "1" }, {}), hasCode("bad-identity"), imageId);
  for (const imageVersion of ["", "1_2", "1+2", "a/b", "1 2", "~1"])
    assert.throws(() => identify({ imageId: "os", imageVersion }, {}), hasCode("bad-identity"), imageVersion);
  identify({ imageId: "a".repeat(18), imageVersion: "1".repeat(10) }, {}); // 18 + 1 + 10 + 7 = 36
  assert.throws(() => identify({ imageId: "a".repeat(19), imageVersion: "1".repeat(10) }, {}), hasCode("bad-identity"));
});

test("identity: a SemVer pre-release becomes one that sorts before its release", () => {
  assert.equal(toImageVersion("1.0.0-rc.1"), "1.0.0~rc.1");
  assert.equal(toImageVersion("1.0.0-rc-1"), "1.0.0~rc.1");
  for (const version of ["1.0.0", "2026-11-23", "41.20260101.0", "1-2"]) assert.equal(toImageVersion(version), version);
});

test("os-release: set values are read back and other lines stay byte for byte", () => {
  const value = fc.stringMatching(/^[A-Za-z0-9._~^-]{0,20}$/);
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[^\n]{0,30}$/), { maxLength: 8 }), value, value, (lines, id, version) => {
      const before = encodeUtf8(lines.map((line) => `${line}\n`).join(""));
      const after = setOsRelease(before, { IMAGE_ID: id, IMAGE_VERSION: version });
      assert.equal(parseOsRelease(after).get("IMAGE_ID"), id);
      assert.equal(parseOsRelease(after).get("IMAGE_VERSION"), version);
      assert.deepEqual(setOsRelease(after, { IMAGE_ID: id, IMAGE_VERSION: version }), after);
    }),
  );
  assert.equal(parseOsRelease(encodeUtf8('A="x \\"y\\" z"\nB=\'q\'\n#C=1\n')).get("A"), 'x "y" z');
});

test("kernel: either place, one of several by name, and errors that say what is there", () => {
  assert.equal(findKernel(tree({ "usr/lib/modules/6.1/vmlinuz": "" })).path, "/usr/lib/modules/6.1/vmlinuz");
  assert.equal(findKernel(tree({ "boot/vmlinuz-6.1": "" })).version, "6.1");
  assert.throws(() => findKernel(tree({ "usr/lib/modules/6.1/modules.dep": "" })), hasCode("no-kernel"));
  const two = tree({ "boot/vmlinuz-6.1": "", "usr/lib/modules/6.12/vmlinuz": "" });
  assert.throws(() => findKernel(two), hasCode("several-kernels"));
  assert.throws(() => findKernel(two), /6\.1, 6\.12/);
  assert.equal(findKernel(two, "6.12").version, "6.12");
  assert.throws(() => findKernel(two, "7"), hasCode("no-kernel"));
});

test("kargs.d: order of file names, architectures, and every mistake with its file", async () => {
  const amd64 = architectureOf("amd64");
  const at = (name: string) => `usr/lib/bootc/kargs.d/${name}`;
  const files = {
    [at("20-b.toml")]: 'kargs = ["b"]\n',
    [at("10-a.toml")]: 'kargs = ["a=1", "c"]\nmatch-architectures = ["x86_64"]\n',
    [at("30-arm.toml")]: 'kargs = ["arm"]\nmatch-architectures = ["aarch64"]\n',
    [at("README")]: "not toml",
  };
  assert.deepEqual(await readKargs(tree(files), amd64), ["a=1", "c", "b"]);
  for (const text of ["kargs = 1", 'kargs = ["x"]\nother = 1\n', "kargs = [", 'kargs = [""]', "\xff"])
    await assert.rejects(readKargs(tree({ [at("x.toml")]: text }), amd64), /\/usr\/lib\/bootc\/kargs\.d\/x\.toml/);
});

test("command line: what protects the root cannot be set, in any spelling", () => {
  assert.equal(
    composeCommandLine("ab", ["quiet"], ["x=1"]),
    "roothash=ab rootfstype=erofs panic=30 fsck.repair=yes quiet x=1",
  );
  for (const argument of [
    "roothash=1",
    "root=/dev/sda",
    '"root=x"',
    "systemd.verity=0",
    "rd.systemd.verity=no",
    "a root=x",
    "systemd.verity-root-data=x",
  ])
    assert.throws(() => composeCommandLine("ab", [], [argument]), hasCode("reserved-karg"), argument);
  assert.throws(() => composeCommandLine("ab", [], ["x".repeat(MAX_COMMAND_LINE)]), hasCode("long-command-line"));
  assert.throws(() => composeCommandLine("ab", [], ["a\nb"]), hasCode("bad-karg"));
});

test("geometry: aligned, in order, without overlap, and large enough for what it must hold", () => {
  const verity = verityParameters(pureHashes, "sha256", "os", undefined);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20_000 }), fc.option(fc.integer({ min: 1, max: 4000 })), (blocks, esp) => {
      const geometry = planGeometry(blocks * 4096, verity, esp === null ? {} : { espSize: esp * MIB + 1 });
      const { slotA, slotB, esp: espExtent, variable } = geometry;
      const extents = [
        espExtent,
        slotA.root,
        slotA.verity,
        slotA.signature,
        slotB.root,
        slotB.verity,
        slotB.signature,
        variable,
      ];
      let end = MIB;
      for (const { start, size } of extents) {
        assert.equal(start, end);
        assert.equal(start % MIB, 0);
        assert.ok(size > 0 && size % MIB === 0);
        end = start + size;
      }
      assert.equal(geometry.diskSize, end + MIB);
      assert.ok(slotA.root.size >= Math.max(2 * blocks * 4096, 2048 * MIB));
      assert.ok(slotA.verity.size * 127 >= slotA.root.size);
    }),
  );
  assert.throws(() => planGeometry(3 * MIB, verity, { slotSize: 2 * MIB }), hasCode("slot-too-small"));
  assert.throws(() => planGeometry(1, verity, { varSize: 5 }), hasCode("bad-size"));
});
