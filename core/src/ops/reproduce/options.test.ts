import assert from "node:assert/strict";
import { test } from "node:test";
import { FORMAT_VERSION, RELEASE_SCHEMA, type Release } from "../release/index.ts";
import { assertReproducible, buildOptionsOf, sealOptionsOf } from "./options.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const SEALED: Release = {
  schema: RELEASE_SCHEMA,
  formatVersion: FORMAT_VERSION,
  rootHash: "ab".repeat(32),
  verity: {
    algorithm: "sha512",
    salt: "00ff",
    uuid: "00000000-0000-4000-8000-000000000001",
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 7,
  },
  inputs: [{ name: "image", digest: DIGEST }],
  options: { timestamp: "1700000000.000000001", tails: "inline" },
  artifacts: [{ role: "root", name: "mine.root.erofs", size: 4096, digest: DIGEST }],
};
const SYSTEM: Release = {
  ...SEALED,
  imageId: "os",
  imageVersion: "1~rc",
  kernelVersion: "6.12",
  commandLine: "quiet",
  inputs: [...SEALED.inputs, { name: "tools", digest: DIGEST }],
  options: {
    timestamp: "-5",
    etc: "transient",
    rootTimeout: 45,
    tails: "blocks",
    selinux: "targeted",
    kargs: ["a", "b=c"],
    espSize: 1,
    slotSize: 2,
    varSize: 3,
    sectorSize: 4096,
  },
};

test("what a release records is what its build is given again", () => {
  assertReproducible(SEALED, "release");
  assertReproducible(SYSTEM, "release");
  assert.deepEqual(sealOptionsOf(SEALED, "release"), {
    name: "mine",
    imageId: undefined,
    imageVersion: undefined,
    clamp: 1_700_000_000_000_000_001n,
    tails: "inline",
    selinux: "none",
    salt: "00ff",
    algorithm: "sha512",
  });
  assert.deepEqual(buildOptionsOf(SYSTEM, "release"), {
    name: "mine",
    imageId: "os",
    imageVersion: "1~rc",
    clamp: -5_000_000_000n,
    tails: "blocks",
    selinux: "policy",
    salt: "00ff",
    kernel: "6.12",
    kargs: ["a", "b=c"],
    etc: "transient",
    rootTimeout: 45,
    espSize: 1,
    slotSize: 2,
    varSize: 3,
    sectorSize: 4096,
  });
});

test("compression is what it was, whatever kernel would choose now", () => {
  const options = { timestamp: "1", tails: "blocks", compress: "zstd,3", cluster: 65536 };
  const given = (more: Release["options"]) => sealOptionsOf({ ...SEALED, options: { ...options, ...more } }, "release");
  const { compress, cluster, packing, targetKernel } = given({});
  assert.deepEqual(
    { compress, cluster, packing, targetKernel },
    {
      compress: "zstd,3",
      cluster: 65536,
      packing: "blocks",
      targetKernel: "any",
    },
  );
  assert.equal(given({ packing: "bytes" }).packing, "bytes");
  assert.throws(() => given({ packing: "crates" }), { code: "bad-release" });
  assert.throws(() => given({ cluster: "64K" }), { code: "bad-release" });
});

test("layout is what it was: hints, chunks, whose data comes first", () => {
  const given = (options: Release["options"]) =>
    sealOptionsOf({ ...SEALED, options: { timestamp: "1", tails: "inline", ...options } }, "release");
  const hints = { compress: "none", compressHints: ["*.txt lz4 4096"] };
  const { compress, cluster, compressHints } = given(hints);
  assert.deepEqual({ compress, cluster, compressHints }, { ...hints, cluster: undefined });
  const { chunksize, dataFirst, targetKernel } = given({ chunksize: 65536, dataFirst: ["a", "b/"] });
  assert.deepEqual(
    { chunksize, dataFirst, targetKernel },
    { chunksize: 65536, dataFirst: ["a", "b/"], targetKernel: "any" },
  );
  assert.throws(() => given({ dataFirst: "a" }), { code: "bad-release" });
});

test("what this Ashlar would build otherwise is not built", () => {
  const refuse = (change: Partial<Release>, code: string) =>
    assert.throws(() => assertReproducible({ ...SYSTEM, ...change }, "release"), { kind: "UnsupportedError", code });
  refuse({ formatVersion: FORMAT_VERSION + 1 }, "format-version");
  refuse({ inputs: [{ name: "firmware", digest: DIGEST }] }, "unknown-input");
  refuse({ options: { ...SYSTEM.options, compression: "lz4" } }, "unknown-option");
  for (const options of [
    {},
    { ...SYSTEM.options, etc: "maybe" },
    { ...SYSTEM.options, kargs: 1 },
    { ...SYSTEM.options, espSize: -1 },
  ])
    assert.throws(() => buildOptionsOf({ ...SYSTEM, options }, "release"), {
      kind: "FormatError",
      code: "bad-release",
    });
});
