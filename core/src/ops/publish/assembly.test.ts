import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import { FORMAT_VERSION, RELEASE_SCHEMA, type Release } from "../release/release.ts";
import { type Assembly, encodeAssembly, MAX_PIECES, parseAssembly } from "./assembly.ts";

const LAYER = `sha256:${"ab".repeat(32)}`;
const LITERALS = `sha256:${"cd".repeat(32)}`;
const entry = (role: string, name: string, size: number) => ({ role, name, size, digest: LAYER });
const RELEASE: Release = {
  schema: RELEASE_SCHEMA,
  formatVersion: FORMAT_VERSION,
  rootHash: "00".repeat(32),
  verity: {
    algorithm: "sha256",
    salt: "",
    uuid: "11111111-2222-4333-8444-555555555555",
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 1,
  },
  inputs: [],
  options: {},
  artifacts: [entry("disk", "d", 30), entry("root", "r", 20), entry("root-verity", "v", 10), entry("uki", "u", 12)],
};
const layers = new Map<string, number | undefined>([
  [LAYER, 8],
  [LITERALS, undefined],
]);
const GOOD: Assembly["artifacts"] = [
  {
    name: "u",
    pieces: [
      { layer: LAYER, size: 8 },
      { layer: LITERALS, at: 3, size: 4 },
    ],
  },
  { name: "d", pieces: [{ size: 4 }, { artifact: "u", size: 12 }, { artifact: "r", at: 6, size: 14 }] },
];
const parse = (artifacts: Assembly["artifacts"]) =>
  parseAssembly(encodeAssembly(artifacts), RELEASE, layers, "assembly");

test("an assembly is read as it was written", () => {
  assert.deepEqual(parse(GOOD).artifacts, GOOD);
});

test("an assembly that does not make the release is refused", () => {
  const [uki, disk] = GOOD as [Assembly["artifacts"][number], Assembly["artifacts"][number]];
  const refused: readonly (readonly [Assembly["artifacts"], RegExp])[] = [
    [[uki], /does not say how "d" is put together/],
    [[disk, uki], /is in something that is not there/], // the disk needs the UKI first
    [[uki, uki, disk], /artifact 1 is none of the release/],
    [[{ name: "r", pieces: [{ size: 20 }] }, uki, disk], /artifact 0 is none of the release/],
    [[{ name: "x", pieces: [{ size: 20 }] }, uki, disk], /artifact 0 is none of the release/],
    [[{ name: "u", pieces: [{ size: 11 }] }, disk], /have 11 bytes, the release says 12/],
    [[{ name: "u", pieces: [{ layer: LAYER, at: 1, size: 8 }, { size: 4 }] }, disk], /ends behind what it is in/],
    [[{ name: "u", pieces: [{ layer: LAYER, artifact: "r", size: 12 }] }, disk], /in a layer and in an artifact/],
    [[{ name: "u", pieces: [{ layer: `sha256:${"ee".repeat(32)}`, size: 12 }] }, disk], /not there/],
    [
      [{ name: "u", pieces: Array.from({ length: MAX_PIECES + 1 }, () => ({ size: 1 })) }, disk],
      /more than 20000 pieces/,
    ],
    [[{ name: "u", pieces: [{ size: 0 }, { size: 12 }] }, disk], /size/],
    [[{ name: "u", pieces: [{ layer: "sha256:x", size: 12 }] }, disk], /layer/],
  ];
  for (const [artifacts, message] of refused)
    assert.throws(
      () => parse(artifacts),
      (error: { kind: string; code: string; message: string }) => {
        assert.equal(error.kind, "FormatError");
        assert.equal(error.code, "bad-assembly");
        assert.match(error.message, message);
        return true;
      },
    );
  const newer = encodeUtf8('{"schema":"ashlar.assembly/v2"}');
  assert.throws(() => parseAssembly(newer, RELEASE, layers, "assembly"), {
    kind: "UnsupportedError",
    code: "assembly-schema",
  });
  assert.throws(() => parseAssembly(encodeUtf8("<html>"), RELEASE, layers, "assembly"), { code: "bad-json" });
});
