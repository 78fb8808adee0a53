/**
 * Puts a release onto a disk. The order is what makes it safe to stop at any time: both ends of the disk are blank until
 * everything else is there, flushed and read back, so that nothing boots from a part of a release.
 */
import { concatBytes, equalBytes, fromUtf8 } from "../../bytes/index.ts";
import { IntegrityError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { type FatPlan, fatSource, openFat, planFat } from "../../formats/fat/index.ts";
import { type EncodedGpt, encodeGpt, type GptPartition } from "../../formats/gpt/index.ts";
import { emitHashDevice } from "../../formats/verity/index.ts";
import { assertDigest, type Digest } from "../../hash/index.ts";
import { bytesSource, forwardSink, type Piece, piecewiseSource, type Source, sliceSource } from "../../source/index.ts";
import { attributes, type Directory, putNode, regularFile, resolvePath } from "../../tree/index.ts";
import { planPartitions } from "../build/disk.ts";
import type { Extent, Geometry } from "../build/geometry.ts";
import { openDisk, partitionSource } from "../disk/index.ts";
import { verityOf } from "../publish/index.ts";
import { digestSource } from "../release/describe.ts";
import { artifactOf, type Release } from "../release/release.ts";
import { productUuid } from "../seal/product.ts";
import { type Check, verifyDisk } from "../verify/index.ts";
import type { ContentEnvironment, ReleaseContent } from "./content.ts";
import { bringTo, type Device, firstDifference, isBlank, zeroSource } from "./device.ts";
import { fitGeometry, type Sizes } from "./fit.ts";
import { EDGE_SIZE, whatIsOn } from "./occupied.ts";
import { assertSystem, type System } from "./system.ts";

export interface InstallOptions extends Sizes {
  /** Take a disk that is not blank. Everything on it is lost. */
  readonly wipe?: boolean | undefined;
  /** Called once, before the first byte of the disk is changed. */
  readonly onChange?: (() => void) | undefined;
}

export interface Installed {
  readonly release: Release;
  readonly geometry: Geometry;
  readonly partitions: readonly GptPartition[];
  /** Bytes that came from a repository, as they are stored there; of files nothing is fetched. */
  readonly fetched: number;
  /** Bytes of the root that were on the disk already. */
  readonly kept: number;
  /** What was verified on the disk; all of it holds. */
  readonly checks: readonly Check[];
}

/** The sizes that a release was built with, from its record of options. */
function builtSizes({ options }: Release): Sizes {
  const sizeOf = (value: unknown) => (typeof value === "number" ? value : undefined);
  return {
    espSize: sizeOf(options["espSize"]),
    slotSize: sizeOf(options["slotSize"]),
    varSize: sizeOf(options["varSize"]),
  };
}

/** Throws PolicyError `disk-not-blank`, `disk-too-small`. */
async function assertTakes(device: Device, { wipe = false }: InstallOptions): Promise<void> {
  if (device.size < 2 * EDGE_SIZE)
    throw new PolicyError("disk-too-small", `${device.name}: has ${device.size} bytes`, { path: device.name });
  const found = wipe ? undefined : await whatIsOn(device);
  if (found !== undefined)
    throw new PolicyError("disk-not-blank", `${device.name}: holds ${found}; --wipe gives up everything on it`, {
      path: device.name,
    });
}

/**
 * Installs a release. Nothing is written where it throws PolicyError or UnsupportedError: `disk-not-blank`,
 * `disk-too-small`, `slot-too-small`, `bad-size`, `not-a-system`, `architecture`, `verity-sectors`, `fat-size`; SinkError
 * `no-space` where the ESP is too small. Throws IntegrityError for a release that is not what it says, or a disk that
 * does not give back what was written (`write-mismatch`); what the device throws. A run that broke off is gone on with by
 * the next.
 */
export async function installRelease(
  content: ReleaseContent,
  device: Device,
  environment: ContentEnvironment,
  options: InstallOptions = {},
): Promise<Installed> {
  const { hashes, reporter, signal } = environment;
  const { release } = content;
  const system = assertSystem(content);
  if (artifactOf(release, "disk") === undefined)
    throw new UnsupportedError("not-a-system", `${content.name}: has no disk: it cannot be installed`);
  await assertTakes(device, options);
  const geometry = fitGeometry(system.root.size, verityOf(release), device, builtSizes(release), options);
  const partitions = planPartitions({ geometry, identity: system, ...system }, hashes);
  const diskGuid = productUuid(hashes, system.imageId, "disk");
  const gpt = encodeGpt({ sectorSize: device.sectorSize, diskSize: device.size, diskGuid, partitions });

  let fetched = 0;
  const onProgress = (amount: number) => {
    fetched += amount;
  };
  const image = await content.openDisk();
  try {
    const esp = await planEsp(image, system, geometry);
    const tree = await content.readTree({ signal });

    options.onChange?.();
    await clearEdges(device);
    const written = await content.writeRoot(tree, device, geometry.slotA.root.start);
    const hashDevice = forwardSink(
      { writeAt: async (offset, bytes) => void (await bringTo(device, offset, bytesSource(bytes), { signal })) },
      geometry.slotA.verity.start,
    );
    await emitHashDevice(hashDevice, tree.tree, release.verity);
    for (const extent of unfilled(geometry))
      for (const at of endsOf(extent)) await bringTo(device, at, zeroSource(EDGE_SIZE));
    const root = sliceSource(device, geometry.slotA.root.start, system.root.size);
    await writeEsp(esp, content, device, geometry, root, environment, onProgress);
    await device.flush();

    if (!(await device.dropCache()))
      reporter.note({
        code: "read-from-cache",
        message: `${device.name}: this machine cannot empty its cache, so what is checked may come from memory`,
      });
    const checks = await verifyWritten(system, device, geometry, gpt, esp, environment);
    await writeTables(device, gpt);
    return { release, geometry, partitions, fetched: fetched + written.fetched, kept: written.kept, checks };
  } finally {
    await image.close();
  }
}

/** Nothing boots from the disk afterwards, and no tool finds a table. */
async function clearEdges(device: Device): Promise<void> {
  await bringTo(device, 0, zeroSource(EDGE_SIZE));
  await bringTo(device, device.size - EDGE_SIZE, zeroSource(EDGE_SIZE));
  await device.flush();
}

/** Partitions that get no content here: what a disk had at their places must not be taken for theirs. */
function unfilled({ slotA, slotB, variable }: Geometry): Extent[] {
  return [slotA.signature, slotB.root, slotB.verity, slotB.signature, variable];
}

/** Where the superblocks of all file systems stand: the first megabyte and the last. */
function endsOf({ start, size }: Extent): readonly [number, number] {
  return [start, start + size - EDGE_SIZE];
}

interface PlannedEsp {
  readonly plan: FatPlan;
  /** Where the UKI will be on the disk. */
  ukiPlace(geometry: Geometry): Extent;
  /** Sets where the UKI's bytes come from. */
  setUki(source: Source): void;
}

/** The ESP as it was built, in the size that is wanted. */
async function planEsp(image: Source, { uki, rootHash }: System, geometry: Geometry): Promise<PlannedEsp> {
  const built = await openDisk(image);
  const volume = await openFat(partitionSource(image, built.esp));
  const found = built.ukis.find((entry) => entry.rootHash !== undefined && equalBytes(entry.rootHash, rootHash));
  if (found === undefined || resolvePath(volume.root, fromUtf8(found.path)) === undefined)
    throw new IntegrityError("root-hash-mismatch", "no UKI on the built disk boots the root of the release");
  let content: Source | undefined;
  const source: Source = {
    size: uki.size,
    read: (...range) =>
      content === undefined ? Promise.reject(new Error("the UKI is not there yet")) : content.read(...range),
  };
  const tree: Directory = volume.root;
  putNode(tree, fromUtf8(found.path), regularFile(attributes(0o644), source));
  const { sectorSize, esp } = geometry;
  const plan = planFat({ tree, size: esp.size, sectorSize, volumeId: volume.volumeId, label: volume.label });
  const { offset } = plan.files.find(({ path }) => path === fromUtf8(found.path))!; // it was put there
  return {
    plan,
    ukiPlace: ({ esp: { start } }) => ({ start: start + offset, size: uki.size }),
    setUki(next) {
      content = next;
    },
  };
}

/** The volume up to its last file; what is behind that is free space, in which anything may stand. */
function usedPart({ plan }: PlannedEsp): Source {
  return sliceSource(fatSource(plan), 0, Math.max(...plan.pieces.map(({ at, source }) => at + source.size)));
}

/** A kernel and an initrd that are there already, or are copies of files of the root, are not fetched. */
async function writeEsp(
  esp: PlannedEsp,
  content: ReleaseContent,
  device: Device,
  geometry: Geometry,
  root: Source,
  { hashes, compressContent, reporter, signal }: ContentEnvironment,
  onFetched: (amount: number) => void,
): Promise<void> {
  const { start, size } = esp.ukiPlace(geometry);
  const there = sliceSource(device, start, size);
  const sectionRoot = compressContent && { root, compressContent };
  const isThere = (await digestSource(there, hashes, { signal })) === artifactOf(content.release, "uki")?.digest;
  const uki = isThere ? undefined : await content.openUki({ onProgress: onFetched, sectionRoot });
  esp.setUki(uki ?? there);
  const volume = usedPart(esp);
  const task = reporter.start("writing the ESP", volume.size);
  try {
    await bringTo(device, geometry.esp.start, volume, { signal, onProgress: task.advance });
  } finally {
    await uki?.close();
    task.end();
  }
}

/** The disk as it will be once its tables are written. */
function withTables(device: Device, { primary, backup }: EncodedGpt): Source {
  const middle = sliceSource(device, primary.length, backup.offset - primary.length);
  const pieces: Piece[] = [
    { at: 0, source: bytesSource(primary) },
    { at: primary.length, source: middle },
    { at: backup.offset, source: bytesSource(backup.bytes) },
  ];
  return piecewiseSource(device.size, pieces);
}

/** Everything that was written: root and hash tree, the whole ESP, what has to be blank; then as `ashlar verify` does. */
async function verifyWritten(
  { uki, rootHash }: System,
  device: Device,
  geometry: Geometry,
  gpt: EncodedGpt,
  esp: PlannedEsp,
  environment: ContentEnvironment,
): Promise<readonly Check[]> {
  const { hashes, signal } = environment;
  const fail = (what: string): never => {
    const message = `${device.name}: what was written does not read back: ${what}`;
    throw new IntegrityError("write-mismatch", message, { path: device.name });
  };
  const { start, size } = esp.ukiPlace(geometry);
  const there = sliceSource(device, start, size);
  assertDigest(await digestSource(there, hashes, { signal }), uki.digest as Digest, uki.name);
  esp.setUki(there);
  const different = await firstDifference(device, geometry.esp.start, usedPart(esp), { signal });
  if (different !== undefined) fail(`the ESP is another one from byte ${different} on`);
  for (const extent of unfilled(geometry))
    for (const at of endsOf(extent))
      if (!(await isBlank(device, at, EDGE_SIZE))) fail(`bytes from ${at} on were to be zeros`);
  const disk = withTables(device, gpt);
  const { checks } = await verifyDisk(disk, environment);
  const failed = checks.find(({ ok }) => !ok);
  if (failed !== undefined) fail(`${failed.name}: ${failed.message}`);
  const { ukis } = await openDisk(disk);
  if (!ukis.some((entry) => entry.rootHash !== undefined && equalBytes(entry.rootHash, rootHash)))
    fail("no UKI boots the release");
  return checks;
}

/** The table that firmware looks at first comes last, and is one whole or not there. */
async function writeTables(device: Device, { primary, backup }: EncodedGpt): Promise<void> {
  await device.writeAt(backup.offset, backup.bytes);
  await device.flush();
  await device.writeAt(0, primary);
  await device.flush();
  await device.dropCache();
  const there = concatBytes(
    await device.read(0, primary.length),
    await device.read(backup.offset, backup.bytes.length),
  );
  if (!equalBytes(there, concatBytes(primary, backup.bytes)))
    throw new IntegrityError("write-mismatch", `${device.name}: the partition tables do not read back`, {
      path: device.name,
    });
}
