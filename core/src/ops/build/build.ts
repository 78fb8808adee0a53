/** The main job: the tree of a system image → disk, root, hash device, UKI and release. Each step is one function. */
import { encodeUtf8, toHex } from "../../bytes/index.ts";
import { assembleUki } from "../../formats/pe/index.ts";
import type { Digest } from "../../hash/index.ts";
import { readAll, type Source } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import { type Artifact, type ArtifactStore, copySource } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { describeArtifact, describeVerity, formatTime, writeRelease } from "../release/describe.ts";
import { digestingSink } from "../release/digesting-sink.ts";
import { type Identity, identify, stemOf } from "../release/identity.ts";
import {
  type ArtifactRole,
  type BUILD_OPTIONS,
  FORMAT_VERSION,
  RELEASE_SCHEMA,
  type RecordedOptions,
  type Release,
} from "../release/release.ts";
import { checkForm, chooseForm, type FormOptions, recordForm } from "../seal/form.ts";
import { productUuid } from "../seal/product.ts";
import { BLOCK_SIZE, sealTree, verityParameters } from "../seal/seal.ts";
import { describeKernel, targetKernel } from "../seal/target-kernel.ts";
import { newestTime } from "../seal/times.ts";
import { type LabelMode, labelTree } from "../selinux/index.ts";
import { type Agent, putAgent } from "./agent/index.ts";
import { type Architecture, architectureOf } from "./architecture.ts";
import { type BootFiles, findBootFiles } from "./boot-files.ts";
import { type DiskInput, layoutDisk } from "./disk.ts";
import { composeEsp } from "./esp.ts";
import { type GeometryOptions, planGeometry } from "./geometry.ts";
import { assembleInitrd, ROOT_TIMEOUT } from "./initrd/index.ts";
import { composeCommandLine, readKargs } from "./kargs.ts";
import { findKernel, type Kernel } from "./kernel.ts";
import { normalise, readOsRelease } from "./normalise.ts";

/** A system image, wherever it comes from. */
export interface SystemInput {
  /** Is changed by the build. */
  readonly tree: Directory;
  /** OCI's name. */
  readonly architecture: string;
  /** Nanoseconds since 1970. */
  readonly created: bigint | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** What the tree was made from, by digest. */
  readonly inputs: Release["inputs"];
  /** Where to look for systemd's stub and boot loader when `tree` has none. */
  readonly tools?: Directory | undefined;
  /** What keeps the machine up to date; it is put into `tree`. */
  readonly agent?: Pick<Agent, "content"> | undefined;
}

export interface BuildOptions extends GeometryOptions, FormOptions {
  /** Stem of the artifacts; default `ID_VERSION`. */
  readonly name?: string | undefined;
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
  /** Nanoseconds since 1970; default the creation of the image, else its newest time. */
  readonly clamp?: bigint | undefined;
  readonly kernel?: string | undefined;
  readonly kargs?: readonly string[];
  readonly etc: "persistent" | "transient";
  /** Seconds in which the devices of the root must appear; default 90. */
  readonly rootTimeout?: number | undefined;
  /** Default `policy`. */
  readonly selinux?: LabelMode | undefined;
  /** Hexadecimal; default made from the image id. */
  readonly salt?: string | undefined;
}

export interface Built {
  readonly release: Release;
  /** Name of the release's own file. */
  readonly releaseName: string;
}

/** Bytes; those of distributions have 0.3 MB. */
const MAX_KERNEL_CONFIG = 4 * 1024 * 1024;

/** All that is known before anything large is written. */
interface Decided {
  readonly identity: Identity;
  readonly architecture: Architecture;
  readonly kernel: Kernel;
  readonly bootFiles: BootFiles;
  /** Nanoseconds since 1970. */
  readonly clamp: bigint;
  /** SELinux policy by which files are labelled, or `none`. */
  readonly selinux: string;
  readonly osRelease: Uint8Array;
  readonly initrd: Uint8Array;
  /** The command line with this root hash, in lower-case hexadecimal. */
  commandLine(rootHash: string): string;
}

/** Normalises the tree, and refuses whatever can be refused. */
async function decide(input: SystemInput, options: BuildOptions, environment: Environment): Promise<Decided> {
  const { tree } = input;
  const { reporter } = environment;
  const identity = identify(options, input.labels);
  const architecture = architectureOf(input.architecture);
  const kernel = findKernel(tree, options.kernel);
  const bootFiles = await findBootFiles(input.tools === undefined ? [tree] : [tree, input.tools], architecture);
  const kernelConfig = kernel.config && (await readAll(kernel.config, MAX_KERNEL_CONFIG, "kernel configuration"));
  const kargs = await readKargs(tree, architecture);
  const commandLine = (rootHash: string): string => composeCommandLine(rootHash, kargs, options.kargs ?? []);
  commandLine("0".repeat(64)); // as long as the real one, for what it refuses
  const clamp = options.clamp ?? input.created ?? newestTime(tree);
  if (input.agent !== undefined)
    for (const note of await putAgent(tree, input.agent, architecture, clamp)) reporter.note(note);
  for (const note of await normalise(tree, { clamp, identity })) reporter.note(note);
  const selinux = await labelTree(tree, options.selinux ?? "policy", reporter);
  const osRelease = await readOsRelease(tree);
  const task = reporter.start("assembling the initrd");
  const initrd = await assembleInitrd(tree, {
    kernelVersion: kernel.version,
    kernelConfig,
    etc: options.etc,
    rootTimeout: options.rootTimeout,
    compressors: environment.compressors,
  });
  task.advance(initrd.length);
  task.end();
  return { identity, architecture, kernel, bootFiles, clamp, selinux, osRelease, initrd, commandLine };
}

/** Writes the UKI with this command line; returns what was written. */
async function writeUki(
  { bootFiles, architecture, kernel, osRelease, initrd }: Decided,
  commandLine: string,
  uki: Artifact,
  signal: AbortSignal | undefined,
): Promise<Source> {
  const image = await assembleUki({
    stub: bootFiles.stub,
    architecture: architecture.systemd,
    sections: [
      { name: ".osrel", content: osRelease },
      { name: ".cmdline", content: encodeUtf8(commandLine) },
      { name: ".uname", content: encodeUtf8(kernel.version) },
      { name: ".initrd", content: initrd },
      { name: ".linux", content: kernel.image },
    ],
    signal,
  });
  await copySource(image.source, uki, 0, { signal });
  await uki.setSize(image.source.size);
  return uki.source(image.source.size);
}

/** Writes the disk; returns its digest. */
async function writeDisk(
  content: Omit<DiskInput, "identity" | "architecture" | "esp"> & { readonly uki: Source },
  { identity, architecture, bootFiles }: Decided,
  disk: Artifact,
  { hashes, reporter, signal }: Environment,
): Promise<Digest> {
  const { diskSize } = content.geometry;
  const task = reporter.start("laying out the disk", diskSize);
  const digested = digestingSink(disk, hashes, { signal, onProgress: task.advance });
  const ukiName = `${stemOf(identity)}.efi`;
  const esp = composeEsp({ architecture, loader: bootFiles.loader, uki: content.uki, ukiName });
  await layoutDisk({ ...content, identity, architecture, esp }, digested, hashes, { signal });
  const digest = await digested.finish(diskSize);
  await disk.setSize(diskSize);
  task.end();
  return digest;
}

type Described = readonly [role: ArtifactRole, name: string, source: Source];

async function describeAll(
  described: readonly Described[],
  { hashes, reporter, signal }: Environment,
): Promise<Release["artifacts"]> {
  const total = described.reduce((sum, [, , source]) => sum + source.size, 0);
  const task = reporter.start("digests", total);
  const entries: Release["artifacts"] = [];
  for (const [role, name, source] of described)
    entries.push(await describeArtifact(role, name, source, hashes, { signal, onProgress: task.advance }));
  task.end();
  return entries;
}

/**
 * Builds all artifacts into `artifacts` and publishes them. Nothing is published when anything fails.
 * Errors: those of the steps, all of our classes; see docs/errors.md.
 */
export async function buildSystem(
  input: SystemInput,
  options: BuildOptions,
  artifacts: ArtifactStore,
  environment: Environment,
): Promise<Built> {
  const { hashes, signal } = environment;
  checkForm(options, BLOCK_SIZE); // refuses early what no kernel could make good
  const decided = await decide(input, options, environment);
  const { identity, architecture, kernel } = decided;
  const form = await chooseForm(options, BLOCK_SIZE, () =>
    options.targetKernel === undefined || options.targetKernel === "auto"
      ? describeKernel(kernel)
      : targetKernel(input.tree, options.targetKernel),
  );

  const stem = options.name ?? stemOf(identity);
  const names = {
    disk: `${stem}.raw`,
    root: `${stem}.root.erofs`,
    verity: `${stem}.root.verity`,
    uki: `${stem}.efi`,
    release: `${stem}.release.json`,
  };
  const disk = await artifacts.create(names.disk);
  const root = await artifacts.create(names.root);
  const hashDevice = await artifacts.create(names.verity);
  const uki = await artifacts.create(names.uki);
  const releaseFile = await artifacts.create(names.release);

  // sha256, since DPS takes the partition UUIDs from the first and last 16 of 32 bytes.
  const verity = verityParameters(hashes, "sha256", identity.imageId, options.salt);
  const verityUuid = productUuid(hashes, identity.imageId, "verity");
  const sealed = await sealTree(
    input.tree,
    root,
    hashDevice,
    { verity, verityUuid, form, verify: options.verify },
    environment,
  );
  const rootHash = toHex(sealed.rootHash);
  const geometry = planGeometry(sealed.rootSize, verity, options);

  const commandLine = decided.commandLine(rootHash);
  const ukiSource = await writeUki(decided, commandLine, uki, signal);
  const rootSource = root.source(sealed.rootSize);
  const hashSource = hashDevice.source(sealed.hashDeviceSize);
  const diskDigest = await writeDisk(
    { geometry, rootHash: sealed.rootHash, root: rootSource, hashDevice: hashSource, uki: ukiSource },
    decided,
    disk,
    environment,
  );
  const described = await describeAll(
    [
      ["root", names.root, rootSource],
      ["root-verity", names.verity, hashSource],
      ["uki", names.uki, ukiSource],
    ],
    environment,
  );

  const release: Release = {
    schema: RELEASE_SCHEMA,
    formatVersion: FORMAT_VERSION,
    ...identity,
    architecture: architecture.oci,
    kernelVersion: kernel.version,
    rootHash,
    verity: describeVerity(verity, verityUuid, sealed.dataBlocks),
    commandLine,
    inputs: input.inputs,
    options: {
      timestamp: formatTime(decided.clamp),
      etc: options.etc,
      rootTimeout: options.rootTimeout ?? ROOT_TIMEOUT,
      ...recordForm(form),
      ...(decided.selinux === "none" ? {} : { selinux: decided.selinux }),
      kargs: [...(options.kargs ?? [])],
      espSize: geometry.esp.size,
      slotSize: geometry.slotA.root.size,
      varSize: geometry.variable.size,
      sectorSize: geometry.sectorSize,
    } satisfies RecordedOptions<(typeof BUILD_OPTIONS)[number]>,
    artifacts: [{ role: "disk", name: names.disk, size: geometry.diskSize, digest: diskDigest }, ...described],
  };
  await writeRelease(release, releaseFile);
  signal?.throwIfAborted();
  await artifacts.publish();
  return { release, releaseName: names.release };
}
