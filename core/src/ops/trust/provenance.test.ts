import assert from "node:assert/strict";
import { test } from "node:test";
import type { Release } from "../release/index.ts";
import {
  assertProvenance,
  encodeStatement,
  PROVENANCE_PREDICATE,
  parseProvenance,
  parseStatement,
  provenanceOf,
  type Statement,
} from "./index.ts";

const hex = (digit: string) => digit.repeat(64);
const DIGEST = `sha256:${hex("9")}` as const;
const release: Release = {
  schema: "ashlar.release/v1",
  formatVersion: 1,
  imageId: "os",
  imageVersion: "42",
  architecture: "amd64",
  rootHash: hex("a"),
  verity: {
    algorithm: "sha256",
    salt: "",
    uuid: "00000000-0000-4000-8000-000000000000",
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 1,
  },
  commandLine: "quiet",
  inputs: [{ name: "image", digest: `sha256:${hex("b")}` }],
  options: { etc: "persistent", kargs: ["quiet"] },
  artifacts: [
    { role: "disk", name: "os_42.raw", size: 1, digest: `sha256:${hex("c")}` },
    { role: "uki", name: "os_42.efi", size: 1, digest: `sha512:${hex("d")}${hex("d")}` },
  ],
};

test("provenance says what was made of what, in SLSA's words", () => {
  const statement = parseStatement(encodeStatement(provenanceOf({ release, digest: DIGEST, name: "q.io/os" })), "x");
  assert.equal(statement.predicateType, PROVENANCE_PREDICATE);
  assert.deepEqual(statement.subject, [
    { name: "q.io/os", digest: { sha256: hex("9") } },
    { name: "os_42.raw", digest: { sha256: hex("c") } },
    { name: "os_42.efi", digest: { sha512: hex("d") + hex("d") } },
    { name: "root hash", digest: { dmVerityRootHash: hex("a") } },
  ]);
  assert.deepEqual(parseProvenance(statement, "x"), {
    buildType: "urn:ashlar:build:v1",
    builder: "urn:ashlar:builder:unspecified",
    parameters: { imageId: "os", imageVersion: "42", architecture: "amd64", options: release.options },
    dependencies: [{ name: "image", digest: { sha256: hex("b") } }],
  });
  assert.equal(assertProvenance(statement, release, "x").builder, "urn:ashlar:builder:unspecified");
  const { commandLine: _, ...sealed } = release;
  const other = provenanceOf({ release: sealed, digest: DIGEST, name: undefined }, "https://ci.example/os");
  assert.deepEqual(parseProvenance(other, "x").builder, "https://ci.example/os");
  assert.equal(parseProvenance(other, "x").buildType, "urn:ashlar:seal:v1");
});

test("provenance of another release", () => {
  const statement = provenanceOf({ release, digest: DIGEST, name: undefined });
  const others: readonly Partial<Release>[] = [
    { rootHash: hex("e") },
    { artifacts: [{ ...release.artifacts[0]!, digest: `sha256:${hex("e")}` }] },
    { inputs: [{ name: "image", digest: `sha256:${hex("e")}` }] },
  ];
  for (const change of others)
    assert.throws(() => assertProvenance(statement, { ...release, ...change }, "x"), {
      kind: "IntegrityError",
      code: "provenance-mismatch",
    });
  for (const predicate of [undefined, null, {}, { buildDefinition: {} }, 1])
    assert.throws(() => assertProvenance({ ...statement, predicate } as Statement, release, "x"), {
      kind: "FormatError",
    });
});
