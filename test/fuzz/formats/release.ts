// Release documents.

import { sourceBlob } from "../../../core/src/formats/oci/index.ts";
import { type Digest, digestOf } from "../../../core/src/hash/index.ts";
import { nodeHashes } from "../../../core/src/node/index.ts";
import { type Assembly, encodeAssembly, parseAssembly } from "../../../core/src/ops/publish/assembly.ts";
import { encodeReleaseManifest, readReleaseManifest } from "../../../core/src/ops/publish/manifest.ts";
import {
  encodeSectionRecipe,
  parseSectionRecipe,
  type SectionRecipe,
} from "../../../core/src/ops/publish/section-recipe.ts";
import { encodeRelease, parseRelease, type Release } from "../../../core/src/ops/release/index.ts";
import { assertReproducible, buildOptionsOf, sealOptionsOf } from "../../../core/src/ops/reproduce/options.ts";
import { bytesSource } from "../../../core/src/source/index.ts";
import { mutateJson } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { shape } from "./common.ts";

const IDENTITY = { imageId: "os", imageVersion: "1" };
const DIGEST = `sha256:${"ab".repeat(32)}`;
const RELEASE: Release = {
  schema: "ashlar.release/v1",
  formatVersion: 1,
  ...IDENTITY,
  architecture: "amd64",
  kernelVersion: "6.12",
  rootHash: "ab".repeat(32),
  verity: {
    algorithm: "sha256",
    salt: "00",
    uuid: "00000000-0000-4000-8000-000000000001",
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 7,
  },
  commandLine: "quiet",
  inputs: [{ name: "image", digest: DIGEST }],
  options: { tails: "blocks", kargs: ["a"], espSize: 1 },
  artifacts: [{ role: "root", name: "os_1.root.erofs", size: 4096, digest: DIGEST }],
};

const SYSTEM: Release = {
  ...RELEASE,
  options: {
    timestamp: "1700000000.000000001",
    etc: "persistent",
    rootTimeout: 90,
    tails: "blocks",
    kargs: ["a"],
    espSize: 1,
    slotSize: 2,
    varSize: 3,
    sectorSize: 512,
  },
  artifacts: [
    { role: "disk", name: "os_1.raw", size: 9000, digest: DIGEST },
    { role: "root", name: "os_1.root.erofs", size: 4096, digest: DIGEST },
    { role: "uki", name: "os_1.efi", size: 600, digest: DIGEST },
  ],
};
const PIECES: Assembly["artifacts"] = [
  { name: "os_1.efi", pieces: [{ layer: DIGEST, at: 1, size: 500 }, { size: 100 }] },
  {
    name: "os_1.raw",
    pieces: [{ artifact: "os_1.efi", size: 600 }, { size: 8399 }, { artifact: "os_1.root.erofs", at: 7, size: 1 }],
  },
];
const SECTION_RECIPE: SectionRecipe = {
  compression: "zstd-9",
  frames: [100, 6],
  pieces: [{ size: 6 }, { path: "usr/bin/kmod", at: 4, size: 100 }],
  literals: Buffer.from("070701"),
};

/** The bytes of a manifest of a release. */
function manifestBytes(): string {
  const blob = (mediaType: string) => ({ mediaType, digest: DIGEST as Digest, size: 10, annotations: {} });
  const layers = {
    config: blob("application/vnd.ashlar.release.v1+json"),
    recipe: blob("application/vnd.ashlar.root.recipe.v1"),
    tree: blob("application/vnd.ashlar.root.tree.v1"),
    packs: [blob("application/vnd.ashlar.pack.v1+zstd")],
    sections: [blob("application/vnd.ashlar.uki.section.v1")],
    sectionRecipes: [blob("application/vnd.ashlar.uki.section.recipe.v1+zstd")],
    assembly: blob("application/vnd.ashlar.assembly.v1+json"),
    literals: [blob("application/vnd.ashlar.literals.v1+zstd")],
  };
  const { bytes } = encodeReleaseManifest(layers, layers.config, { "vnd.ashlar.root-hash": "ab" }, nodeHashes);
  return Buffer.from(bytes).toString();
}

export const RELEASE_PARSERS: readonly Parser[] = [
  {
    name: "release.json",
    mutants: (random) => mutateJson(Buffer.from(encodeRelease(RELEASE)).toString(), random),
    *shapes() {
      yield shape("long root hash", JSON.stringify({ ...RELEASE, rootHash: "ab".repeat(500_000) }));
      yield shape("key of lines", JSON.stringify({ ...RELEASE, options: { "a\nb": null } }));
    },
    read: async (bytes) => parseRelease(bytes, "release.json"),
  },
  {
    name: "options of a release",
    mutants: (random) => mutateJson(Buffer.from(encodeRelease(SYSTEM)).toString(), random),
    async read(bytes) {
      const release = parseRelease(bytes, "release.json");
      assertReproducible(release, "release.json");
      if (release.commandLine === undefined) sealOptionsOf(release, "release.json");
      else buildOptionsOf(release, "release.json");
    },
  },
  {
    name: "assembly",
    mutants: (random) => mutateJson(Buffer.from(encodeAssembly(PIECES)).toString(), random),
    *shapes() {
      const many = Array.from({ length: 50_000 }, () => ({ size: 1 }));
      yield shape("many pieces", Buffer.from(encodeAssembly([{ name: "os_1.efi", pieces: many }])));
      const name = "x".repeat(1_000_000);
      yield shape("long name", Buffer.from(encodeAssembly([{ name, pieces: [{ artifact: name, size: 1 }] }])));
    },
    read: async (bytes) => parseAssembly(bytes, SYSTEM, new Map([[DIGEST, 600]]), "assembly"),
  },
  {
    name: "recipe of a section",
    *mutants(random) {
      const seed = Buffer.from(encodeSectionRecipe(SECTION_RECIPE));
      const end = seed.indexOf("\n");
      for (const { what, bytes } of mutateJson(seed.toString("utf8", 0, end), random))
        yield { what, bytes: Buffer.concat([bytes, seed.subarray(end)]) };
    },
    *shapes() {
      const pieces = Array.from({ length: 100_000 }, () => ({ path: "a", size: 1 }));
      yield shape("many pieces", Buffer.from(encodeSectionRecipe({ ...SECTION_RECIPE, pieces })));
    },
    read: async (bytes) => parseSectionRecipe(bytes, 106, "recipe"),
  },
  {
    name: "manifest of a release",
    mutants: (random) => mutateJson(manifestBytes(), random),
    async read(bytes) {
      const source = { ...bytesSource(bytes), close: async () => {} };
      const store = { name: "memory", open: async () => sourceBlob(source) };
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const descriptor = { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
      await readReleaseManifest(store, descriptor, nodeHashes);
    },
  },
];
