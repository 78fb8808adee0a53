import { tmpdir } from "node:os";
import { FormatError, isAshlarError } from "@ashlar/core/errors";
import { compressContent, decompressFrame, fileScratch, nodeHashes, openArtifacts } from "@ashlar/core/node";
import type { ResumableStore } from "@ashlar/core/ops";
import { type PulledRelease, pullRelease } from "@ashlar/core/ops/publish";
import type { ReleaseFlags } from "../commands/flags.ts";
import type { PullFlags } from "../commands/pull.ts";
import type { SourceTrustFlags } from "../commands/trust-flags.ts";
import { printMade } from "../output/release.ts";
import { platformOf } from "./inputs.ts";
import { inSession, type Session } from "./session.ts";
import { hostRepositories, repositoryReference } from "./stored-releases.ts";
import { admittedRelease } from "./trust.ts";
import { blockHasher } from "./workers.ts";

/**
 * Pulls the release that `word` means.
 * @param openStore called when there is something to put into it
 */
export async function pullTo(
  openStore: () => Promise<ResumableStore>,
  word: string,
  flags: ReleaseFlags &
    SourceTrustFlags & { readonly tmpdir?: string | undefined; readonly workers?: number | undefined },
  session: Session,
): Promise<PulledRelease> {
  const { reporter, signal } = session;
  const reference = await repositoryReference(word);
  if (reference === undefined)
    throw new FormatError(
      "bad-reference",
      `${word}: is no release in a repository; expected docker://, oci: or oci-archive:`,
    );
  await using hasher = blockHasher(flags.workers);
  const repository = await hostRepositories(flags, signal).open(reference);
  try {
    const descriptor = await admittedRelease(repository, reference, platformOf(flags), flags, session);
    return await pullRelease(repository, descriptor, await openStore(), {
      hashes: nodeHashes,
      blockHasher: hasher,
      decompressFrame,
      compressContent,
      scratch: fileScratch(flags.tmpdir ?? tmpdir()),
      reporter,
      signal,
    });
  } finally {
    await repository.close();
  }
}

export function runPull(flags: PullFlags, word: string): Promise<void> {
  return inSession(flags, async (session) => {
    let artifacts: ResumableStore | undefined;
    const openStore = async (): Promise<ResumableStore> => {
      artifacts = await openArtifacts(flags.output, { overwrite: flags.overwrite, resume: true });
      return artifacts;
    };
    try {
      const pulled = await pullTo(openStore, word, { ...flags, tmpdir: flags.output }, session);
      printMade(session, flags, "ashlar.pull/v1", pulled);
    } catch (error) {
      // Another try may go on, unless what came is wrong.
      const mayGoOn = session.signal.aborted || (isAshlarError(error) && error.kind === "SourceError");
      if (mayGoOn && (await artifacts?.suspend()) === true)
        session.leaveBehind(`${flags.output} keeps what the next pull goes on with`);
      throw error;
    } finally {
      await artifacts?.discard();
    }
  });
}
