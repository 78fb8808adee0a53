import { tmpdir } from "node:os";
import { basename, dirname } from "node:path";
import { parsePlatform } from "@ashlar/core/formats/oci";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes, openArtifacts } from "@ashlar/core/node";
import { diffImages, openDiffSide } from "@ashlar/core/ops/diff";
import type { DiffFlags } from "../commands/diff.ts";
import { EXIT } from "../exit-codes.ts";
import { diffLines } from "../output/diff.ts";
import { diffPage } from "../output/diff-page.ts";
import { inputRegistries } from "./registries.ts";
import { Failed, inSession } from "./session.ts";
import { releaseAccess } from "./stored-releases.ts";
import { blockHasher } from "./tools.ts";

const SCHEMA = "ashlar.diff/v1";

/** Appears under its name when it is whole. */
async function writePage(path: string, page: Uint8Array): Promise<void> {
  const artifacts = await openArtifacts(dirname(path), { overwrite: true });
  try {
    const file = await artifacts.create(basename(path));
    await file.writeAt(0, page);
    await file.setSize(page.length);
    await artifacts.publish();
  } finally {
    await artifacts.discard();
  }
}

export function runDiff(flags: DiffFlags, a: string, b: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    await using hasher = blockHasher(flags.workers);
    const environment = {
      hashes: nodeHashes,
      blockHasher: hasher,
      scratch: fileScratch(flags.tmpdir ?? tmpdir()),
      files: nodeFiles,
      registries: inputRegistries(flags),
      decompressors: nodeDecompressors,
      releases: releaseAccess(flags, signal),
      reporter,
      signal,
    };
    const platform = flags.platform === undefined ? undefined : parsePlatform(flags.platform);
    const before = await openDiffSide(a, environment, { platform });
    try {
      const after = await openDiffSide(b, environment, { platform });
      try {
        const diff = await diffImages(before, after, environment);
        for (const note of diff.notes) reporter.note(note);
        if (flags.html !== undefined) await writePage(flags.html, diffPage(diff, nodeHashes));
        if (flags.json) session.printJson({ schema: SCHEMA, ...diff });
        else for (const line of diffLines(diff, { all: flags.all })) session.print(line);
        if (flags.exitCode && !diff.same) throw new Failed(EXIT.different);
      } finally {
        await after.close();
      }
    } finally {
      await before.close();
    }
  });
}
