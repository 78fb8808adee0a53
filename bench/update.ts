// One update of a machine whose root has 2 GB, of which a part changes: memory, time and bytes of `stageRelease` in a process of its
// own, from an OCI layout to a file as disk, with its ESP in a folder.
//
//   node bench/update.ts             2 GB, 5 % changed
//   node bench/update.ts 500 20      500 MB, 20 % changed
import { spawnSync } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { encodeUtf8, fromUtf8, toHex, type Uuid } from "../core/src/bytes/index.ts";
import { inlineBlockHasher } from "../core/src/hash/index.ts";
import {
  compressContent,
  createBlockHasher,
  createFile,
  createFrameCompressor,
  decompressFrame,
  fileScratch,
  nodeCompressors,
  nodeHashes,
  openDevice,
  openFile,
  thriftyFrameDecompressor,
} from "../core/src/node/index.ts";
import { espAt } from "../core/src/node/machine/esp.ts";
import { openLocation } from "../core/src/node/registry/index.ts";
import { architectureOf } from "../core/src/ops/build/architecture.ts";
import { layoutDisk } from "../core/src/ops/build/disk.ts";
import { composeEsp } from "../core/src/ops/build/esp.ts";
import { planGeometry } from "../core/src/ops/build/geometry.ts";
import { compressInitrd } from "../core/src/ops/build/initrd/index.ts";
import { type Reporter, silentReporter } from "../core/src/ops/index.ts";
import { openStoredRelease, pushReleases, type ReleaseFiles } from "../core/src/ops/publish/index.ts";
import {
  describeArtifact,
  describeVerity,
  encodeRelease,
  FORMAT_VERSION,
  RELEASE_SCHEMA,
  type Release,
} from "../core/src/ops/release/index.ts";
import { sealTree, verityParameters } from "../core/src/ops/seal/index.ts";
import { type StageStep, stageRelease, storedContent } from "../core/src/ops/update/index.ts";
import { bytesSource, type Source } from "../core/src/source/index.ts";
import { attributes, directory, putNode, regularFile } from "../core/src/tree/index.ts";
import { peImage } from "../test/fuzz/formats/pe.ts";

const MIB = 1024 * 1024;
const FILE_SIZE = 8 * MIB;
/** Bytes of an initrd before it is compressed; that of a Debian 12 has 27.5 MB. */
const INITRD_SIZE = 27 * MIB;
const INITRD_FILES = 18;
/** Of Node, as the executable on the device has them (agent/build/executable.ts). */
const FLAGS = ["--max-semi-space-size=1"];
const LAYOUT = { transport: "oci", tag: undefined, digest: undefined } as const;

/** Bytes that do not compress, made when they are read. */
function noiseSource(size: number, seed: string): Source {
  const key = createHash("sha256").update(seed).digest().subarray(0, 16);
  return {
    size,
    async read(offset, length) {
      const counter = Buffer.alloc(16);
      counter.writeUInt32BE(Math.floor(offset / 16), 12);
      const cipher = createCipheriv("aes-128-ctr", key, counter);
      const skip = offset % 16;
      return cipher.update(Buffer.alloc(skip + length)).subarray(skip);
    },
  };
}

/** Half as many bytes when they are compressed, as programs are. */
function programSource(size: number, seed: string): Source {
  const noise = noiseSource(size, seed);
  return { size, read: async (offset, length) => (await noise.read(offset, length)).map((byte) => byte & 15) };
}

/** Files of the root that are all of the initrd. */
function programsOf(version: number): readonly (readonly [path: string, content: Source])[] {
  const name = (i: number) => fromUtf8(`usr/lib/program-${i}`);
  const size = INITRD_SIZE / INITRD_FILES;
  return Array.from({ length: INITRD_FILES }, (_, i) => [name(i), programSource(size, `program ${i} ${version}`)]);
}

async function initrdOf(version: number): Promise<Uint8Array> {
  const tree = directory(attributes(0o755));
  for (const [path, content] of programsOf(version)) putNode(tree, path, regularFile(attributes(0o755), content));
  const kernelConfig = encodeUtf8("CONFIG_RD_ZSTD=y\n");
  return compressInitrd(tree, { kernelConfig, compressors: nodeCompressors });
}

/** A release in files, and what of it changes from one version to the next. */
async function makeRelease(folder: string, version: number, files: number, changed: number): Promise<ReleaseFiles> {
  const stem = `bench_${version}`;
  const hasher = createBlockHasher({ workers: 2 });
  const root = directory(attributes(0o755));
  putNode(root, fromUtf8("usr/lib/os-release"), regularFile(attributes(0o644), bytesSource(osRelease(version))));
  for (const [path, content] of programsOf(version)) putNode(root, path, regularFile(attributes(0o755), content));
  for (let i = 0; i < files; i++) {
    const seed = `file ${i} ${i % Math.round(files / changed) === 1 ? version : 0}`;
    putNode(root, fromUtf8(`usr/lib/file-${i}`), regularFile(attributes(0o644), noiseSource(FILE_SIZE, seed)));
  }
  const verity = verityParameters(nodeHashes, "sha256", "bench", undefined);
  const verityUuid = "11111111-2222-4333-8444-555555555555" as Uuid;
  const [data, tree] = [
    await createFile(join(folder, `${stem}.root.erofs`)),
    await createFile(join(folder, `${stem}.root.verity`)),
  ];
  const scratch = fileScratch(folder);
  const environment = {
    hashes: nodeHashes,
    blockHasher: hasher,
    compressors: nodeCompressors,
    scratch,
    reporter: silentReporter,
  };
  const sealed = await sealTree(root, data, tree, { verity, verityUuid }, environment);
  await data.close();
  await tree.close();
  await hasher[Symbol.asyncDispose]();
  truncateSync(join(folder, `${stem}.root.erofs`), sealed.rootSize);
  truncateSync(join(folder, `${stem}.root.verity`), sealed.hashDeviceSize);
  const commandLine = `roothash=${toHex(sealed.rootHash)}`;
  const uki = peImage([
    [".osrel", osRelease(version)],
    [".cmdline", encodeUtf8(commandLine)],
    [".initrd", await initrdOf(version)],
    [".linux", Buffer.from(await noiseSource(12 * MIB, "kernel").read(0, 12 * MIB))],
  ]);
  writeFileSync(join(folder, `${stem}.efi`), uki);
  const artifacts: Release["artifacts"] = [];
  for (const [role, name] of [
    ["root", `${stem}.root.erofs`],
    ["root-verity", `${stem}.root.verity`],
    ["uki", `${stem}.efi`],
  ] as const) {
    const file = await openFile(join(folder, name));
    artifacts.push(await describeArtifact(role, name, file, nodeHashes));
    await file.close();
  }
  const release: Release = {
    schema: RELEASE_SCHEMA,
    formatVersion: FORMAT_VERSION,
    imageId: "bench",
    imageVersion: `${version}`,
    architecture: "amd64",
    rootHash: toHex(sealed.rootHash),
    verity: describeVerity(verity, verityUuid, sealed.dataBlocks),
    commandLine,
    inputs: [],
    options: {},
    artifacts,
  };
  const name = `${stem}.release.json`;
  return { name, release, bytes: encodeRelease(release), open: (file) => openFile(join(folder, file)) };
}

function osRelease(version: number): Uint8Array {
  return encodeUtf8(`ID=bench\nIMAGE_ID=bench\nIMAGE_VERSION=${version}\n`);
}

async function makeMachine(folder: string, files: ReleaseFiles): Promise<void> {
  const { release } = files;
  const [root, hashDevice, uki] = await Promise.all(release.artifacts.map(({ name }) => openFile(join(folder, name))));
  const verity = verityParameters(nodeHashes, "sha256", "bench", undefined);
  const geometry = planGeometry(root!.size, verity, {
    espSize: 256 * MIB,
    slotSize: root!.size + 64 * MIB,
    varSize: MIB,
  });
  const disk = await createFile(join(folder, "disk"));
  const architecture = architectureOf("amd64");
  const esp = composeEsp({ architecture, loader: encodeUtf8("loader"), uki: uki!, ukiName: "bench_1.efi" });
  const identity = { imageId: "bench", imageVersion: "1" };
  const rootHash = Buffer.from(release.rootHash, "hex");
  const parts = { root: root!, hashDevice: hashDevice!, esp };
  await layoutDisk({ geometry, identity, architecture, rootHash, ...parts }, disk, nodeHashes);
  for (const file of [root, hashDevice, uki, disk]) await file?.close();
  truncateSync(join(folder, "disk"), geometry.diskSize);
  mkdirSync(join(folder, "esp/EFI/Linux"), { recursive: true });
  copyFileSync(join(folder, "bench_1.efi"), join(folder, "esp/EFI/Linux/bench_1.efi"));
}

async function prepare(folder: string, size: number, percent: number): Promise<string> {
  const files = Math.max(8, Math.round((size * 1e6) / FILE_SIZE));
  const changed = Math.max(1, Math.round((files * percent) / 100));
  const releases = [await makeRelease(folder, 1, files, changed), await makeRelease(folder, 2, files, changed)];
  const { repository, close } = await openLocation({ ...LAYOUT, path: join(folder, "layout") }, undefined, {
    write: true,
  });
  const hasher = createBlockHasher({ workers: 2 });
  const environment = {
    hashes: nodeHashes,
    blockHasher: hasher,
    compressors: nodeCompressors,
    compressContent,
    frameCompressor: await createFrameCompressor({ workers: 2 }),
    decompressFrame,
    scratch: fileScratch(folder),
    reporter: silentReporter,
  };
  for (const release of releases)
    await pushReleases([release], repository, { tag: release.release.imageVersion! }, environment);
  await hasher[Symbol.asyncDispose]();
  await close();
  await makeMachine(folder, releases[0]!);
  return releases[0]!.release.rootHash;
}

/** Of a process: bytes of its largest resident size since the last call with `reset`. */
function peakMemory(reset: boolean): number {
  if (reset) writeFileSync("/proc/self/clear_refs", "5"); // proc(5)
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0) * 1024;
}

/** The update itself, as the agent makes it. */
async function update(folder: string, running: string): Promise<void> {
  const base = peakMemory(true);
  const hasher = inlineBlockHasher(nodeHashes);
  const { repository, close } = await openLocation({ ...LAYOUT, path: join(folder, "layout") }, undefined, {
    write: false,
  });
  const device = await openDevice(join(folder, "disk"));
  const reporter: Reporter = silentReporter;
  const environment = {
    hashes: nodeHashes,
    blockHasher: hasher,
    decompressFrame: thriftyFrameDecompressor(),
    compressContent,
    scratch: fileScratch(folder),
    reporter,
  };
  const stored = await openStoredRelease(repository, await repository.resolve({ tag: "2" }), environment);
  const steps: { readonly step: StageStep; readonly at: number }[] = [];
  const peaks: number[] = [];
  const machine = {
    device,
    esp: await espAt(join(folder, "esp"), { readOnly: false, mended: [], unmended: [], damaged: [] }, async () => {}),
    architecture: "x86-64",
    running,
  } as const;
  const onStep = (step: StageStep) => {
    peaks.push(peakMemory(true));
    steps.push({ step, at: performance.now() });
  };
  const begun = performance.now();
  const { blocks, fetched } = await stageRelease(storedContent(stored, environment), machine, environment, { onStep });
  const ended = performance.now();
  peaks.push(peakMemory(true));
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1);
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  const each = steps.map(
    ({ step, at }, i) => `${step} ${seconds(at, steps[i + 1]?.at ?? ended)} s ${megabytes(peaks[i + 1]!)} MB`,
  );
  const parts = [
    `peak memory ${megabytes(Math.max(...peaks))} MB, ${megabytes(base)} MB before`,
    `wall ${seconds(begun, ended)} s, CPU ${((userCPUTime + systemCPUTime) / 1e6).toFixed(1)} s`,
    each.join(", "),
    `root ${megabytes(blocks.total)} MB: copied ${megabytes(blocks.copied)}, fetched ${megabytes(blocks.fetched)} MB as ${megabytes(fetched)} MB`,
  ];
  console.log(parts.join("; "));
  await stored.close();
  await machine.esp.close();
  await device.close();
  await close();
}

const [, script, ...words] = process.argv;
if (words[0] === "--run") await update(words[1]!, words[2]!);
else {
  const folder = mkdtempSync(join(process.env["ASHLAR_BENCH_DIR"] ?? tmpdir(), "ashlar-update-"));
  // As in the agent nothing is compiled when it starts. Packages are found from here.
  const bundled = join(import.meta.dirname, `../node_modules/.ashlar-bench-${process.pid}.mjs`);
  try {
    await build({
      entryPoints: [script!],
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      outfile: bundled,
    });
    const running = await prepare(folder, Number(words[0] ?? 2000), Number(words[1] ?? 5));
    const command = [...FLAGS, bundled, "--run", folder, running];
    const { status } = spawnSync(process.execPath, command, { stdio: "inherit" });
    if (status !== 0) throw new Error(`the update failed: ${status}`);
  } finally {
    rmSync(bundled, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}
