/** Releases small enough to be made by the hundred: a sealed root, a UKI of large and small sections, and a disk around them. */
import { encodeUtf8, fromUtf8, toHex, type Uuid } from "../../core/src/bytes/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import {
  compressContent,
  createFrameCompressor,
  decompressFrame,
  nodeCompressors,
  nodeHashes,
} from "../../core/src/node/index.ts";
import { silentReporter } from "../../core/src/ops/index.ts";
import type { PublishEnvironment, ReleaseFiles } from "../../core/src/ops/publish/index.ts";
import {
  describeArtifact,
  describeVerity,
  encodeRelease,
  FORMAT_VERSION,
  RELEASE_SCHEMA,
  type Release,
} from "../../core/src/ops/release/index.ts";
import { sealTree, verityParameters } from "../../core/src/ops/seal/index.ts";
import { bytesSource, memoryScratch, memorySink, type Source } from "../../core/src/source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import { peImage } from "../fuzz/formats/pe.ts";
import { memoryArtifacts } from "./memory-artifacts.ts";
import { noise } from "./samples.ts";

export async function publishEnvironment(): Promise<PublishEnvironment> {
  return {
    hashes: nodeHashes,
    blockHasher: inlineBlockHasher(nodeHashes),
    compressors: nodeCompressors,
    compressContent,
    frameCompressor: await createFrameCompressor({ workers: 0 }),
    decompressFrame,
    scratch: memoryScratch,
    reporter: silentReporter,
  };
}

export interface SampleRelease extends ReleaseFiles {
  /** All files of the release, release.json too. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export interface SampleReleaseOptions {
  readonly version?: string;
  readonly architecture?: string;
  /** Content of the `.initrd` section. */
  readonly initrd?: Uint8Array;
  readonly algorithm?: "sha256" | "sha512";
  /** The source image. */
  readonly inputs?: Release["inputs"];
  /** Leave out UKI and disk. */
  readonly rootOnly?: boolean;
}

const KERNEL = noise(200_000, "kernel");
const INITRD = noise(300_000, "initrd");

/** @param content files of the root by path */
export async function sampleRelease(
  content: Readonly<Record<string, Uint8Array | string>>,
  environment: PublishEnvironment,
  options: SampleReleaseOptions = {},
): Promise<SampleRelease> {
  const { version = "1", architecture = "amd64", algorithm = "sha256", inputs = [], rootOnly = false } = options;
  const tree = directory(attributes(0o755));
  for (const [path, bytes] of Object.entries(content)) {
    const file = typeof bytes === "string" ? encodeUtf8(bytes) : bytes;
    putNode(tree, fromUtf8(path), regularFile(attributes(0o644), bytesSource(file)));
  }
  const store = memoryArtifacts();
  const stem = `sample_${version}`;
  const root = await store.create(`${stem}.root.erofs`);
  const hashDevice = await store.create(`${stem}.root.verity`);
  const verity = verityParameters(nodeHashes, algorithm, "sample", undefined);
  const verityUuid = "11111111-2222-4333-8444-555555555555" as Uuid;
  const sealed = await sealTree(tree, root, hashDevice, { verity, verityUuid }, environment);
  const rootHash = toHex(sealed.rootHash);
  const rootBytes = await root.source(sealed.rootSize).read(0, sealed.rootSize);
  const verityBytes = await hashDevice.source(sealed.hashDeviceSize).read(0, sealed.hashDeviceSize);
  const files = new Map<string, Uint8Array>([
    [`${stem}.root.erofs`, rootBytes],
    [`${stem}.root.verity`, verityBytes],
  ]);
  const roles = new Map([
    [`${stem}.root.erofs`, "root"],
    [`${stem}.root.verity`, "root-verity"],
  ]);
  if (!rootOnly) {
    const uki = peImage([
      [".text", noise(700, "stub")],
      [".cmdline", encodeUtf8(`roothash=${rootHash}`)],
      [".initrd", options.initrd ?? INITRD],
      [".linux", KERNEL],
    ]);
    const disk = memorySink();
    await disk.writeAt(0, noise(1024, "table"));
    await disk.writeAt(100 * 512, noise(40_000, "loader"));
    await disk.writeAt(1000 * 512, uki);
    await disk.writeAt(4 * 1024 * 1024, rootBytes);
    const end = Math.ceil(rootBytes.length / 1024 / 1024 + 5) * 1024 * 1024;
    await disk.writeAt(end, verityBytes);
    await disk.writeAt(end + 2 * 1024 * 1024, noise(512, `backup ${version}`));
    files.set(`${stem}.efi`, uki).set(`${stem}.raw`, disk.bytes());
    roles.set(`${stem}.efi`, "uki").set(`${stem}.raw`, "disk");
  }
  const artifacts: Release["artifacts"] = [];
  for (const [name, bytes] of [...files].reverse())
    artifacts.push(await describeArtifact(roles.get(name) as "root", name, bytesSource(bytes), nodeHashes));
  const release: Release = {
    schema: RELEASE_SCHEMA,
    formatVersion: FORMAT_VERSION,
    imageId: "sample",
    imageVersion: version,
    architecture,
    rootHash,
    verity: describeVerity(verity, verityUuid, sealed.dataBlocks),
    inputs,
    options: { timestamp: "1700000000", tails: "blocks" },
    artifacts,
  };
  const bytes = encodeRelease(release);
  files.set(`${stem}.release.json`, bytes);
  return {
    name: `${stem}.release.json`,
    release,
    bytes,
    files,
    async open(name) {
      const source: Source = bytesSource(files.get(name) ?? new Uint8Array(0));
      return { ...source, close: async () => {} };
    },
  };
}
