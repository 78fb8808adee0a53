import { nodeHashes } from "@ashlar/core/node";
import { diffImages, openDiffSide } from "@ashlar/core/ops/diff";
import type { DiffFlags } from "../commands/diff.ts";
import { EXIT } from "../exit-codes.ts";
import { diffLines } from "../output/diff.ts";
import { diffPage } from "../output/diff-page.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import { withOutputFile } from "./outputs.ts";
import { Failed, inSession } from "./session.ts";
import { releaseAccess } from "./stored-releases.ts";
import { blockHasher } from "./workers.ts";

const SCHEMA = "ashlar.diff/v1";

function writePage(path: string, page: Uint8Array): Promise<void> {
  return withOutputFile(path, { overwrite: true }, async (file) => {
    await file.writeAt(0, page);
    await file.setSize(page.length);
  });
}

export function runDiff(flags: DiffFlags, a: string, b: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    await using hasher = blockHasher(flags.workers);
    const environment = {
      ...inputEnvironment(flags, session),
      blockHasher: hasher,
      releases: releaseAccess(flags, signal),
    };
    const platform = platformOf(flags);
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
