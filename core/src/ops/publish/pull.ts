/** Writes a release from a repository as `ashlar build` wrote it: bit for bit, and verified before it appears. */

import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import { emitHashDevice } from "../../formats/verity/index.ts";
import { assertDigest, type Digest } from "../../hash/index.ts";
import { forwardSink, type Source } from "../../source/index.ts";
import { type Artifact, copySource, type ResumableStore } from "../artifacts.ts";
import { digestSource } from "../release/describe.ts";
import { digestingSink } from "../release/digesting-sink.ts";
import { stemOf } from "../release/identity.ts";
import { artifactOf, type Release } from "../release/release.ts";
import type { AssemblyPiece } from "./assembly.ts";
import type { PullEnvironment } from "./environment.ts";
import { fetchRoot } from "./fetch-root.ts";
import { assembledSource, openLayers } from "./layers.ts";
import { openStoredRelease, type StoredRelease } from "./stored.ts";
import { readVerifiedTree } from "./stored-root.ts";

export interface PullOptions {
  /** Name of the release's own file; default as `ashlar build` names it. */
  readonly releaseName?: string | undefined;
}

export interface PulledRelease {
  readonly release: Release;
  readonly releaseName: string;
  /** Bytes of frames of the root that were fetched. */
  readonly fetched: number;
  /** Bytes of the root that were there from an earlier run. */
  readonly kept: number;
}

/** The name that `build` and `seal` give release.json: the stem of the root's name. */
export function releaseNameOf(release: Release): string {
  const root = artifactOf(release, "root")?.name ?? "";
  const { imageId = "release", imageVersion = "0" } = release;
  const stem = root.endsWith(".root.erofs") ? root.slice(0, -".root.erofs".length) : stemOf({ imageId, imageVersion });
  return `${stem}.release.json`;
}

/**
 * Pulls all artifacts into `artifacts` and publishes them, release.json last. Every block of the root is held against the
 * root hash when it arrives, every artifact against release.json. Errors: those of opening; IntegrityError
 * `verity-mismatch`, `digest-mismatch`, `root-hash-mismatch`; SinkError. When it throws, the caller discards what was
 * written, or suspends it where another try may go on.
 */
export async function pullRelease(
  repository: Repository,
  descriptor: Descriptor,
  artifacts: ResumableStore,
  environment: PullEnvironment,
  options: PullOptions = {},
): Promise<PulledRelease> {
  const { signal } = environment;
  const stored = await openStoredRelease(repository, descriptor, environment);
  const { release, bytes } = stored;
  const releaseName = options.releaseName ?? releaseNameOf(release);
  try {
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
  const { hashes, signal, reporter } = environment;
  const fetching = [...manifest.sections, ...manifest.literals].reduce((sum, { size }) => sum + size, 0);
  const task = reporter.start("fetching the rest", fetching);
  const layers = openLayers(repository, manifest, environment, task.advance);
  try {
    const sizes = new Map(release.artifacts.map(({ name, size }) => [name, size]));
    for (const { name, pieces } of assembly.artifacts) {
      const entry = release.artifacts.find((artifact) => artifact.name === name)!; // the assembly was held against it
      const file = files.get(name)!;
      const source = await assembledSource(pieces, layers, (part) => files.get(part)!.source(sizes.get(part)!));
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
