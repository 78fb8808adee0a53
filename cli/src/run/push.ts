import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormatError, isAshlarError, PolicyError, SourceError } from "@ashlar/core/errors";
import type { Selector } from "@ashlar/core/formats/oci";
import { parseDigest } from "@ashlar/core/hash";
import {
  createFrameCompressor,
  decompressFrame,
  fileScratch,
  nodeCompressors,
  nodeHashes,
  openFile,
} from "@ashlar/core/node";
import { openLocation, openRegistries } from "@ashlar/core/node/registry";
import { nameOf, parseReference, type Reference } from "@ashlar/core/ops/image";
import { isRepositoryReference, pushReleases, type ReleaseFiles } from "@ashlar/core/ops/publish";
import { MAX_RELEASE_SIZE, parseRelease } from "@ashlar/core/ops/release";
import { readAll } from "@ashlar/core/source";
import type { PushFlags } from "../commands/push.ts";
import { pushLines } from "../output/push.ts";
import { openArtifact } from "./images.ts";
import { registryOptions } from "./registries.ts";
import { inSession } from "./session.ts";
import { blockHasher, workersOf } from "./tools.ts";

const SCHEMA = "ashlar.push/v1";
/** distribution-spec, "Pulling manifests". */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** A release.json, or the only one in a directory. */
async function findRelease(word: string): Promise<string> {
  try {
    await using _file = await openFile(word);
    return word;
  } catch (error) {
    if (!isAshlarError(error) || error.code !== "not-a-file") throw error;
  }
  const names = (await readdir(word)).filter((name) => name.endsWith(".release.json"));
  const [only] = names;
  if (only === undefined || names.length > 1)
    throw new SourceError("no-release", `${word}: has ${names.length} files *.release.json; name one`, { path: word });
  return join(word, only);
}

async function openReleaseFiles(word: string): Promise<ReleaseFiles> {
  const path = await findRelease(word);
  await using file = await openFile(path);
  const bytes = await readAll(file, MAX_RELEASE_SIZE, path);
  return { name: path, release: parseRelease(bytes, path), bytes, open: (name) => openArtifact(path, name) };
}

function previousOf(text: string | undefined): Selector | "none" | undefined {
  if (text === undefined || text === "none") return text;
  return text.includes(":") ? { digest: parseDigest(text) } : { tag: text };
}

/** Where no tag is given the version is one, if all releases have the same and it can be a tag. */
function tagOf(destination: Reference, releases: readonly ReleaseFiles[]): string {
  const name = nameOf(destination);
  if (destination.digest !== undefined)
    throw new FormatError("bad-reference", `${name}: a release is not pushed to a digest`, { path: name });
  if (destination.tag !== undefined) return destination.tag;
  const versions = new Set(releases.map(({ release }) => release.imageVersion));
  const [version] = versions;
  if (versions.size === 1 && version !== undefined && TAG.test(version)) return version;
  throw new PolicyError("no-tag", `${name}: give a tag; the version of what is pushed cannot be one`, { path: name });
}

export function runPush(flags: PushFlags, ...words: readonly string[]): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    const destination = parseReference(words.at(-1)!); // there are two at least
    if (!isRepositoryReference(destination))
      throw new FormatError(
        "bad-reference",
        `${nameOf(destination)}: is no repository; expected docker://, oci: or oci-archive:`,
      );
    const releases: ReleaseFiles[] = [];
    for (const word of words.slice(0, -1)) releases.push(await openReleaseFiles(word));
    const tag = tagOf(destination, releases);
    await using hasher = blockHasher(flags.workers);
    await using frameCompressor = await createFrameCompressor({ workers: workersOf(flags.workers) });
    const registries = openRegistries(registryOptions(flags));
    const location = await openLocation(destination, registries, { write: true, signal });
    const { repository } = location;
    try {
      const pushed = await pushReleases(
        releases,
        repository,
        {
          tag,
          previous: previousOf(flags.previous),
          sourceIndex: flags.sourceIndex === undefined ? undefined : parseDigest(flags.sourceIndex),
        },
        {
          hashes: nodeHashes,
          blockHasher: hasher,
          compressors: nodeCompressors,
          frameCompressor,
          decompressFrame,
          scratch: fileScratch(flags.tmpdir ?? tmpdir()),
          reporter,
          signal,
        },
      );
      await location.publish();
      if (flags.json)
        session.printJson({ schema: SCHEMA, repository: repository.name, ...pushed, notes: session.notes });
      else for (const line of pushLines(repository.name, pushed)) session.print(line);
    } finally {
      await location.close();
      registries.close();
    }
  });
}
