import { tmpdir } from "node:os";
import { FormatError, PolicyError } from "@ashlar/core/errors";
import type { Selector } from "@ashlar/core/formats/oci";
import { parseDigest } from "@ashlar/core/hash";
import {
  compressContent,
  createFrameCompressor,
  decompressFrame,
  fileScratch,
  nodeCompressors,
  nodeHashes,
} from "@ashlar/core/node";
import { openLocation, openRegistries } from "@ashlar/core/node/registry";
import { nameOf, parseReference, type Reference } from "@ashlar/core/ops/image";
import { isRepositoryReference, pushReleases, type ReleaseFiles } from "@ashlar/core/ops/publish";
import type { PushFlags } from "../commands/push.ts";
import { pushLines } from "../output/push.ts";
import { registryOptions } from "./registries.ts";
import { openReleaseFiles } from "./release-files.ts";
import { inSession } from "./session.ts";
import { blockHasher, workersOf } from "./workers.ts";

const SCHEMA = "ashlar.push/v1";
/** distribution-spec, "Pulling manifests". */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

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
          compressContent,
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
