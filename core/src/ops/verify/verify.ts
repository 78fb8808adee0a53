/**
 * Checks a release or a disk, down to every block, against the root hash that the UKI carries. Collects results
 * instead of stopping at the first failure; a check that cannot be made since an earlier one failed is left out.
 */
import { equalBytes, fromHex, toHex } from "../../bytes/index.ts";
import { IntegrityError, isAshlarError } from "../../errors/index.ts";
import { openErofs } from "../../formats/erofs/index.ts";
import { checkGpt } from "../../formats/gpt/index.ts";
import { checkVerity, type VeritySuperblock } from "../../formats/verity/index.ts";
import { assertDigest, type Digest } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { type Disk, findSealedPair, openDisk, partitionSource, readUki, type UkiFacts } from "../disk/disk.ts";
import type { Environment } from "../environment.ts";
import { digestSource } from "../release/describe.ts";
import { type ArtifactRole, artifactOf, type Release } from "../release/release.ts";

export interface Check {
  /** Stable name of what was checked, such as `root: hash tree`. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, one line. */
  readonly message: string;
}

export interface Verification {
  readonly checks: readonly Check[];
  readonly ok: boolean;
}

export type VerifyEnvironment = Pick<Environment, "hashes" | "blockHasher" | "reporter" | "signal">;

/** Findings of one kind that are listed one by one. */
const MAX_LISTED = 20;

/** Files one failure of the check that is being made. */
type Fail = (message: string) => void;

function checkList() {
  const checks: Check[] = [];
  return {
    add(name: string, ok: boolean, message: string): void {
      checks.push({ name, ok, message });
    },
    /** Makes one check: listed once where it holds, else once a failure; one of our errors is a failure too. */
    async attempt<T>(name: string, check: (fail: Fail) => Promise<readonly [message: string, value: T]>) {
      let failed = false;
      function fail(message: string): void {
        failed = true;
        checks.push({ name, ok: false, message });
      }
      try {
        const [message, value] = await check(fail);
        if (!failed) checks.push({ name, ok: true, message });
        return value;
      } catch (error) {
        if (!isAshlarError(error)) throw error;
        fail(error.message);
        return undefined;
      }
    },
    result: (): Verification => ({ checks, ok: checks.every(({ ok }) => ok) }),
  };
}
type CheckList = ReturnType<typeof checkList>;

/** Every data and hash block of a sealed pair, then whether what they hold is an EROFS image. */
async function verifyPair(
  list: CheckList,
  what: string,
  data: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  environment: VerifyEnvironment,
  superblock?: VeritySuperblock,
): Promise<void> {
  const task = environment.reporter.start(`checking ${what}`);
  let reported = 0;
  await list.attempt(`${what}: hash tree`, async (fail) => {
    const report = await checkVerity(data, hashDevice, rootHash, {
      hasher: environment.blockHasher,
      superblock,
      signal: environment.signal,
      onProgress(done) {
        task.advance(done - reported);
        reported = done;
      },
    });
    for (const { message } of report.findings.slice(0, MAX_LISTED)) fail(message);
    const { checkedBlocks, badDataBlocks, badHashBlocks, unverifiableBlocks } = report;
    if (report.findings.length > MAX_LISTED)
      fail(`in all ${badDataBlocks} data and ${badHashBlocks} hash blocks, ${unverifiableBlocks} cannot be checked`);
    return [`${checkedBlocks} blocks match root hash ${toHex(rootHash)}`, undefined];
  });
  task.end();
  await list.attempt(`${what}: EROFS`, async () => {
    const image = await openErofs(data);
    return [`${image.superblock.inodeCount} inodes, superblock checksum matches`, undefined];
  });
}

/** Checks everything that a machine reads from the disk before and while it runs. */
export async function verifyDisk(source: Source, environment: VerifyEnvironment): Promise<Verification> {
  const list = checkList();
  await verifyDiskInto(list, source, environment);
  return list.result();
}

async function verifyDiskInto(
  list: CheckList,
  source: Source,
  environment: VerifyEnvironment,
): Promise<Disk | undefined> {
  const { signal } = environment;
  await list.attempt("disk: partition tables", async (fail) => {
    const { findings, gpt } = await checkGpt(source, { signal });
    for (const { message } of findings) fail(message);
    return [`${gpt.partitions.length} partitions, sectors of ${gpt.sectorSize} bytes`, undefined];
  });
  const disk = await list.attempt("disk: ESP", async () => {
    const opened = await openDisk(source, { signal });
    return [`${opened.ukis.length} UKI${opened.ukis.length === 1 ? "" : "s"}`, opened];
  });
  if (disk === undefined) return undefined;
  const sealed = disk.ukis.filter(({ rootHash }) => rootHash !== undefined);
  if (sealed.length === 0) list.add("disk: root hash", false, "no UKI on the ESP names a root hash");
  for (const uki of sealed) {
    const rootHash = uki.rootHash!; // filtered for it
    const pair = await list.attempt(`${uki.path}: partitions`, async () => {
      const found = findSealedPair(disk.gpt, rootHash);
      return [`root hash names partitions ${found.root.number} (${found.root.name}) and ${found.verity.number}`, found];
    });
    if (pair === undefined) continue;
    const data = partitionSource(source, pair.root);
    await verifyPair(list, uki.path, data, partitionSource(source, pair.verity), rootHash, environment);
    await verifyIdentity(list, uki.path, data, uki);
  }
  return disk;
}

/** The UKI must say of itself what the root says. */
async function verifyIdentity(list: CheckList, what: string, root: Source, uki: UkiFacts): Promise<void> {
  await list.attempt(`${what}: os-release`, async () => {
    const image = await openErofs(root);
    const inode = await image.lookup("usr/lib/os-release");
    if (inode?.type !== "file" || inode.size !== uki.osRelease.length)
      throw new IntegrityError("os-release-mismatch", "the root has another os-release than .osrel says");
    if (!equalBytes(await image.content(inode).read(0, inode.size), uki.osRelease))
      throw new IntegrityError("os-release-mismatch", "the root has another os-release than .osrel says");
    return [".osrel is the root's own", undefined];
  });
}

/**
 * Checks a release: size and digest of every artifact, the root hash in release and UKI, every block of the sealed
 * pair, and the disk as {@link verifyDisk} does.
 * @param open opens an artifact by its name
 */
export async function verifyRelease(
  release: Release,
  open: (name: string) => Promise<Source>,
  environment: VerifyEnvironment,
): Promise<Verification> {
  const list = checkList();
  // Without this a release that lists nothing would pass, since nothing of it is wrong.
  const missing = requiredRoles(release).filter((role) => artifactOf(release, role) === undefined);
  if (missing.length > 0) list.add("release: artifacts", false, `the release lists no ${missing.join(" and no ")}`);
  const sources = new Map<string, Source>();
  const total = release.artifacts.reduce((sum, { size }) => sum + size, 0);
  const task = environment.reporter.start("checking digests", total);
  for (const { role, name, size, digest } of release.artifacts)
    await list.attempt(`${role}: digest`, async () => {
      const source = await open(name);
      sources.set(role, source);
      if (source.size !== size)
        throw new IntegrityError("size-mismatch", `${name} has ${source.size} bytes, the release says ${size}`);
      const options = { signal: environment.signal, onProgress: task.advance };
      assertDigest(await digestSource(source, environment.hashes, options), digest as Digest, name);
      return [`${name} is ${digest}`, undefined];
    });
  task.end();

  const rootHash = fromHex(release.rootHash);
  const ukiSource = sources.get("uki");
  if (ukiSource !== undefined) {
    const name = artifactOf(release, "uki")!.name; // it was opened under this role
    await list.attempt("uki: root hash", async (fail) => {
      const uki = await readUki(ukiSource, name);
      if (uki.rootHash === undefined || !equalBytes(uki.rootHash, rootHash))
        fail(`${name} boots another root than the release names`);
      if (uki.commandLine !== release.commandLine) fail(`${name} has another command line than the release`);
      return [`${name} carries the root hash of the release`, undefined];
    });
  }
  const root = sources.get("root");
  const hashDevice = sources.get("root-verity");
  if (root !== undefined && hashDevice !== undefined)
    await verifyPair(list, "root", root, hashDevice, rootHash, environment, superblockOf(release));
  const diskSource = sources.get("disk");
  if (diskSource !== undefined) {
    const disk = await verifyDiskInto(list, diskSource, environment);
    const same = disk?.ukis.some((uki) => uki.rootHash !== undefined && equalBytes(uki.rootHash, rootHash));
    if (disk !== undefined && same !== true) list.add("disk: release", false, "no UKI on the disk boots this release");
  }
  return list.result();
}

/** A release with a command line is one of a system, which boots from a UKI on a disk. */
function requiredRoles({ commandLine }: Release): ArtifactRole[] {
  return commandLine === undefined ? ["root", "root-verity"] : ["disk", "root", "root-verity", "uki"];
}

/** What the superblock of the hash device must say; it is not under the root hash itself. */
function superblockOf({ verity }: Release): VeritySuperblock {
  return { ...verity, salt: fromHex(verity.salt) };
}
