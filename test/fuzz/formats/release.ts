// Release documents.
import { encodeRelease, parseRelease, type Release } from "../../../core/src/ops/release/index.ts";
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
];
