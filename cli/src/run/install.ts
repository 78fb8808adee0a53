import { PolicyError } from "@ashlar/core/errors";
import { compressContent, decompressFrame, nodeHashes, openDevice } from "@ashlar/core/node";
import { openStoredRelease } from "@ashlar/core/ops/publish";
import {
  type ContentEnvironment,
  type Device,
  fileContent,
  type Installed,
  installRelease,
  type ReleaseContent,
  storedContent,
} from "@ashlar/core/ops/update";
import type { InstallFlags } from "../commands/install.ts";
import { formatBytes } from "../output/units.ts";
import { platformOf } from "./inputs.ts";
import { openReleaseFiles } from "./release-files.ts";
import { inSession, type Session } from "./session.ts";
import { releaseEnvironment, repositoryReference, withRepository } from "./stored-releases.ts";
import { admittedRelease } from "./trust.ts";
import { blockHasher } from "./workers.ts";

const SCHEMA = "ashlar.install/v1";

/** Opens what is installed, runs `work`, closes everything. What was verified is what is used: from then on digests count. */
async function withContent<T>(
  word: string,
  flags: InstallFlags,
  session: Session,
  environment: ContentEnvironment,
  work: (content: ReleaseContent) => Promise<T>,
): Promise<T> {
  const reference = await repositoryReference(word);
  if (reference === undefined) {
    if (flags.verifyKey !== undefined || flags.policy !== undefined)
      throw new PolicyError("unsigned", `${word}: is not signed: only what is in a repository can be`, { path: word });
    return work(fileContent(await openReleaseFiles(word), environment));
  }
  const { signal } = session;
  return withRepository(reference, flags, signal, async (repository) => {
    const descriptor = await admittedRelease(repository, reference, platformOf(flags), flags, session);
    const opening = releaseEnvironment(flags, environment.blockHasher, signal);
    const stored = await openStoredRelease(repository, descriptor, opening);
    try {
      return await work(storedContent(stored, environment));
    } finally {
      await stored.close();
    }
  });
}

function forJson(word: string, device: Device, { release, partitions, fetched, kept, checks }: Installed) {
  const { imageId, imageVersion, architecture, rootHash } = release;
  return {
    schema: SCHEMA,
    source: word,
    disk: device.name,
    diskSize: device.size,
    sectorSize: device.sectorSize,
    imageId,
    imageVersion,
    architecture,
    rootHash,
    partitions: partitions.map(({ attributes: _, ...partition }) => partition),
    fetched,
    kept,
    checks,
  };
}

export function runInstall(flags: InstallFlags, word: string, disk: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    await using hasher = blockHasher(flags.workers);
    const environment = { hashes: nodeHashes, blockHasher: hasher, decompressFrame, compressContent, reporter, signal };
    await using device = await openDevice(disk, { sectorSize: flags.sectorSize });
    const installed = await withContent(word, flags, session, environment, (content) =>
      installRelease(content, device, environment, {
        ...flags,
        onChange: () => session.leaveBehind(`${disk} does not boot; the same command goes on where it was`),
      }),
    );
    if (flags.json) {
      session.printJson({ ...forJson(word, device, installed), notes: session.notes });
      return;
    }
    const { release, partitions, fetched, kept, checks } = installed;
    for (const { name, start, size } of partitions)
      session.print(`${formatBytes(start).padStart(10)}  ${formatBytes(size).padStart(10)}  ${name}`);
    if (fetched > 0) session.print(`fetched ${formatBytes(fetched)}`);
    if (kept > 0) session.print(`${formatBytes(kept)} of the root were there`);
    session.print(`${disk}: ${release.imageId} ${release.imageVersion}, ${checks.length} checks passed`);
    session.print(`root hash ${release.rootHash}`);
  });
}
