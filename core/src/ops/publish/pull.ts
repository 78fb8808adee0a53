/** Writes a release from a repository as `ashlar build` wrote it: bit for bit, and verified before it appears. */

import { PolicyError } from "../../errors/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import { emitHashDevice } from "../../formats/verity/index.ts";
import { assertDigest, type Digest } from "../../hash/index.ts";
import { forwardSink, type Source } from "../../source/index.ts";
import { type Artifact, copySource, type ResumableStore } from "../artifacts.ts";
import { digestSource } from "../release/describe.ts";
import { digestingSink } from "../release/digesting-sink.ts";
import { artifactOf, type Release } from "../release/release.ts";
import type { AssemblyPiece } from "./assembly.ts";
import type { PullEnvironment } from "./environment.ts";
import { fetchRoot } from "./fetch-root.ts";
import { assembledSource, openLayers } from "./layers.ts";
import { openStoredRelease, type StoredRelease } from "./stored.ts";
import { readVerifiedTree } from "./stored-root.ts";

export interface PulledRelease {
  readonly release: Release;
  readonly releaseName: string;
  /** Bytes of frames of the root that were fetched. */
  readonly fetched: number;
  /** Bytes of the root that were there from an earlier run. */
  readonly kept: number;
}

/** What may begin the names of files: they are written to a directory of the user's, who should know them as a release. */
const STEM = /^[A-Za-z0-9_][A-Za-z0-9._~^+@-]{0,199}$/;
const ROOT_SUFFIX = ".root.erofs";
/** Behind the stem, of artifacts that readers do not know by their role. */
const SUFFIX = /^\.[A-Za-z0-9._-]{1,50}$/;

/**
 * The name that `build` and `seal` give release.json. Throws PolicyError `artifact-name` where artifacts are not named as a
 * release's are: a registry could put a `.profile` into somebody's home otherwise.
 */
export function releaseNameOf({ artifacts }: Release): string {
  const root = artifacts.find(({ role }) => role === "root")?.name ?? "";
  const stem = root.slice(0, -ROOT_SUFFIX.length);
  const isNamed = (name: string): boolean => name.startsWith(stem) && SUFFIX.test(name.slice(stem.length));
  const wrong =
    root.endsWith(ROOT_SUFFIX) && STEM.test(stem) ? artifacts.find(({ name }) => !isNamed(name))?.name : root;
  if (wrong !== undefined)
    throw new PolicyError(
      "artifact-name",
      `artifact ${JSON.stringify(wrong.slice(0, 200))} is not named as one of a release: STEM.root.erofs, STEM.raw and the like`,
    );
  return `${stem}.release.json`;
}

/**
 * Pulls all artifacts into `artifacts` and publishes them, release.json last. Every block of the root is held against the
 * root hash when it arrives, every artifact against release.json. Errors: those of opening; IntegrityError
 * `verity-mismatch`, `digest-mismatch`, `root-hash-mismatch`; PolicyError `artifact-name`; SinkError. When it throws, the caller discards what was
 * written, or suspends it where another try may go on.
 */
export async function pullRelease(
  repository: Repository,
  descriptor: Descriptor,
  artifacts: ResumableStore,
  environment: PullEnvironment,
): Promise<PulledRelease> {
  const { signal } = environment;
  const stored = await openStoredRelease(repository, descriptor, environment);
  const { release, bytes } = stored;
  try {
    const releaseName = releaseNameOf(release);
    const files = new Map<string, Artifact>();
    let left: Source | undefined;
    for (const { role, name } of release.artifacts)
      if (role === "root") {
        const resumed = await artifacts.resume(name);
        files.set(name, resumed.artifact);
        left = resumed.left;
      } else files.set(name, await artifacts.create(name));
    const releaseFile = await artifacts.create(releaseName);
    const { fetched, kept } = await pullRoot(stored, files, left, environment);
    await pullRest(stored, repository, files, environment);
    await releaseFile.writeAt(0, bytes);
    await releaseFile.setSize(bytes.length);
    signal?.throwIfAborted();
    await artifacts.publish();
    return { release, releaseName, fetched, kept: kept * release.verity.dataBlockSize };
  } finally {
    await stored.close();
  }
}

async function pullRoot(
  { release, root }: StoredRelease,
  files: ReadonlyMap<string, Artifact>,
  left: Source | undefined,
  { hashes, blockHasher, decompressFrame, reporter, signal }: PullEnvironment,
) {
  const { leaves, tree } = await readVerifiedTree(root, blockHasher, { signal });
  const hashEntry = artifactOf(release, "root-verity")!; // opening has seen to both
  const hashDevice = files.get(hashEntry.name)!;
  await emitHashDevice(forwardSink(hashDevice), tree, release.verity);
  await finish(hashEntry, hashDevice, async (source) => digestSource(source, hashes, { signal }));

  const rootEntry = artifactOf(release, "root")!;
  const file = files.get(rootEntry.name)!;
  let task: ReturnType<typeof reporter.start> | undefined;
  const result = await fetchRoot(root, leaves, file, {
    blockHasher,
    decompressFrame,
    signal,
    left,
    onStart: (total) => {
      task = reporter.start("fetching the root", total);
    },
    onProgress: (amount) => task?.advance(amount),
  });
  task?.end();
  await finish(rootEntry, file, async (source) => digestSource(source, hashes, { signal }));
  return result;
}

/** Fixes the size of an artifact and holds it against release.json. */
async function finish(
  { name, size, digest }: Release["artifacts"][number],
  file: Artifact,
  digestOf: (source: Source) => Promise<Digest>,
): Promise<void> {
  await file.setSize(size);
  assertDigest(await digestOf(file.source(size)), digest as Digest, name);
}

/** Everything but the sealed pair, in the order of the assembly: what is in another artifact comes from there. */
async function pullRest(
  { release, manifest, assembly }: StoredRelease,
  repository: Repository,
  files: ReadonlyMap<string, Artifact>,
  environment: PullEnvironment,
): Promise<void> {
  if (assembly === undefined) return;
  const { hashes, signal, reporter, compressContent } = environment;
  const { name: rootName, size: rootSize } = artifactOf(release, "root")!; // opening has seen to it
  const root = files.get(rootName)!.source(rootSize);
  const fetching = [...manifest.sections.map(({ layer }) => layer), ...manifest.literals].reduce(
    (sum, { size }) => sum + size,
    0,
  );
  const task = reporter.start("fetching the rest", fetching);
  const layers = openLayers(
    repository,
    manifest,
    environment,
    task.advance,
    compressContent && { root, compressContent },
  );
  try {
    const sizes = new Map(release.artifacts.map(({ name, size }) => [name, size]));
    for (const { name, pieces } of assembly.artifacts) {
      const entry = release.artifacts.find((artifact) => artifact.name === name)!; // the assembly was held against it
      const file = files.get(name)!;
      const source = assembledSource(pieces, layers, (part) => files.get(part)!.source(sizes.get(part)!));
      const sink = digestingSink(file, hashes, { signal });
      for (const { at, size } of filledParts(pieces))
        await copySource({ size, read: (offset, length) => source.read(at + offset, length) }, sink, at, { signal });
      await file.setSize(entry.size);
      assertDigest(await sink.finish(entry.size), entry.digest as Digest, name);
    }
  } finally {
    await layers.close();
    task.end();
  }
}

/** Where there is something else than zeros. */
function* filledParts(pieces: readonly AssemblyPiece[]): Generator<{ readonly at: number; readonly size: number }> {
  let at = 0;
  for (const { layer, artifact, size } of pieces) {
    if (layer !== undefined || artifact !== undefined) yield { at, size };
    at += size;
  }
}
