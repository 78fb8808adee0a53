// OCI and Docker documents.
import {
  parseConfig,
  parseDockerManifest,
  parseIndex,
  parseManifest,
  selectDockerImage,
} from "../../../core/src/formats/oci/index.ts";
import type { Parser } from "../harness.ts";
import { json, shape } from "./common.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const descriptor = (mediaType: string) => ({
  mediaType,
  digest: DIGEST,
  size: 7,
  annotations: { "org.opencontainers.image.ref.name": "latest" },
});
const OCI = "application/vnd.oci.image";
const INDEX = {
  schemaVersion: 2,
  mediaType: `${OCI}.index.v1+json`,
  manifests: [
    { ...descriptor(`${OCI}.manifest.v1+json`), platform: { os: "linux", architecture: "amd64", variant: "v1" } },
  ],
  annotations: { a: "b" },
};
const MANIFEST = {
  schemaVersion: 2,
  mediaType: `${OCI}.manifest.v1+json`,
  config: descriptor(`${OCI}.config.v1+json`),
  layers: [descriptor(`${OCI}.layer.v1.tar+gzip`), descriptor(`${OCI}.layer.v1.tar`)],
};
const CONFIG = {
  created: "2025-01-01T00:00:00Z",
  architecture: "amd64",
  os: "linux",
  config: { Labels: { a: "b" } },
  rootfs: { type: "layers", diff_ids: [DIGEST] },
  history: [{ created_by: "x" }],
};
const DOCKER = [
  { Config: "blobs/sha256/ab", RepoTags: ["docker.io/library/debian:latest"], Layers: ["a/layer.tar", "b/layer.tar"] },
];
const LONG_DIGEST = `${"a.".repeat(1_500_000)}`;

export const OCI_PARSERS: readonly Parser[] = [
  {
    name: "OCI index",
    mutants: json(INDEX),
    *shapes() {
      yield shape(
        "long digest",
        JSON.stringify({ ...INDEX, manifests: [{ ...INDEX.manifests[0], digest: LONG_DIGEST }] }),
      );
      yield shape("key of lines", JSON.stringify({ ...INDEX, annotations: { "a\nb": 7 } }));
    },
    read: async (bytes) => parseIndex(bytes, "index.json"),
  },
  { name: "OCI manifest", mutants: json(MANIFEST), read: async (bytes) => parseManifest(bytes, "manifest") },
  { name: "OCI config", mutants: json(CONFIG), read: async (bytes) => parseConfig(bytes, "config") },
  {
    name: "docker-archive manifest",
    mutants: json(DOCKER),
    read: async (bytes) => selectDockerImage(parseDockerManifest(bytes, "manifest.json"), "debian", "archive"),
  },
];
