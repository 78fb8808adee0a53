/** Releases of systems that could be started: as small as a disk with an ESP can be, made by the same parts as a build. */
import { encodeUtf8, fromUtf8, toHex, type Uuid } from "../../core/src/bytes/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { architectureOf } from "../../core/src/ops/build/architecture.ts";
import { layoutDisk } from "../../core/src/ops/build/disk.ts";
import { composeEsp } from "../../core/src/ops/build/esp.ts";
import { type GeometryOptions, planGeometry } from "../../core/src/ops/build/geometry.ts";
import type { PublishEnvironment } from "../../core/src/ops/publish/index.ts";
import {
  describeArtifact,
  describeVerity,
  encodeRelease,
  FORMAT_VERSION,
  RELEASE_SCHEMA,
  type Release,
  stemOf,
} from "../../core/src/ops/release/index.ts";
import { type RootForm, sealTree, verityParameters } from "../../core/src/ops/seal/index.ts";
import { bytesSource, memorySink } from "../../core/src/source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import { peImage } from "../fuzz/formats/pe.ts";
import { memoryArtifacts } from "./memory-artifacts.ts";
import type { SampleRelease } from "./releases.ts";
import { noise } from "./samples.ts";

const MIB = 1024 * 1024;

/** An ESP of FAT32 with sectors of 512 bytes has 33 MiB at least. */
export const SYSTEM_SIZES = { espSize: 36 * MIB, slotSize: 4 * MIB, varSize: MIB } as const satisfies GeometryOptions;

export interface SystemOptions {
  readonly version?: string;
  readonly sizes?: GeometryOptions;
  readonly initrd?: Uint8Array;
  readonly kernel?: Uint8Array;
  /** Behind `roothash=`. */
  readonly kargs?: string;
  readonly imageId?: string;
  /** Of the root. */
  readonly compression?: RootForm["compression"];
}

/** @param content more files of the root by path */
export async function systemRelease(
  content: Readonly<Record<string, Uint8Array | string>>,
  environment: PublishEnvironment,
  options: SystemOptions = {},
): Promise<SampleRelease> {
  const { version = "1", sizes = SYSTEM_SIZES, imageId = "sample", kargs } = options;
  const { initrd = noise(300_000, "initrd"), kernel = noise(200_000, "kernel") } = options;
  const identity = { imageId, imageVersion: version };
  const osRelease = encodeUtf8(`ID=sample\nIMAGE_ID=${imageId}\nIMAGE_VERSION=${version}\n`);
  const tree = directory(attributes(0o755));
  for (const [path, bytes] of Object.entries({ "usr/lib/os-release": osRelease, ...content })) {
    const file = typeof bytes === "string" ? encodeUtf8(bytes) : bytes;
    putNode(tree, fromUtf8(path), regularFile(attributes(0o644), bytesSource(file)));
  }
  const stem = stemOf(identity);
  const store = memoryArtifacts();
  const root = await store.create("root");
  const hashDevice = await store.create("verity");
  const verity = verityParameters(nodeHashes, "sha256", identity.imageId, undefined);
  const verityUuid = "11111111-2222-4333-8444-555555555555" as Uuid;
  const sealing = { verity, verityUuid, form: { compression: options.compression } };
  const sealed = await sealTree(tree, root, hashDevice, sealing, environment);
  const rootBytes = await root.source(sealed.rootSize).read(0, sealed.rootSize);
  const verityBytes = await hashDevice.source(sealed.hashDeviceSize).read(0, sealed.hashDeviceSize);
  const commandLine = [`roothash=${toHex(sealed.rootHash)}`, ...(kargs === undefined ? [] : [kargs])].join(" ");
  const uki = peImage([
    [".text", noise(700, "stub")],
    [".osrel", osRelease],
    [".cmdline", encodeUtf8(commandLine)],
    [".initrd", initrd],
    [".linux", kernel],
  ]);
  const geometry = planGeometry(sealed.rootSize, verity, sizes);
  const architecture = architectureOf("amd64");
  const esp = composeEsp({
    architecture,
    loader: noise(90_000, "loader"),
    uki: bytesSource(uki),
    ukiName: `${stem}.efi`,
  });
  const disk = memorySink();
  disk.setSize(geometry.diskSize);
  const parts = { root: bytesSource(rootBytes), hashDevice: bytesSource(verityBytes), esp };
  await layoutDisk({ geometry, identity, architecture, rootHash: sealed.rootHash, ...parts }, disk, nodeHashes);
  const artifacts: Release["artifacts"] = [];
  const files = new Map<string, Uint8Array>();
  for (const [role, name, bytes] of [
    ["disk", `${stem}.raw`, disk.bytes()],
    ["root", `${stem}.root.erofs`, rootBytes],
    ["root-verity", `${stem}.root.verity`, verityBytes],
    ["uki", `${stem}.efi`, uki],
  ] as const) {
    files.set(name, bytes);
    artifacts.push(await describeArtifact(role, name, bytesSource(bytes), nodeHashes));
  }
  const release: Release = {
    schema: RELEASE_SCHEMA,
    formatVersion: FORMAT_VERSION,
    ...identity,
    architecture: architecture.oci,
    kernelVersion: "6.12.0",
    rootHash: toHex(sealed.rootHash),
    verity: describeVerity(verity, verityUuid, sealed.dataBlocks),
    commandLine,
    inputs: [],
    options: {
      espSize: geometry.esp.size,
      slotSize: geometry.slotA.root.size,
      varSize: geometry.variable.size,
      sectorSize: geometry.sectorSize,
    },
    artifacts,
  };
  const bytes = encodeRelease(release);
  files.set(`${stem}.release.json`, bytes);
  return {
    name: `${stem}.release.json`,
    release,
    bytes,
    files,
    open: async (name) => ({ ...bytesSource(files.get(name) ?? new Uint8Array(0)), close: async () => {} }),
  };
}
