import { tmpdir } from "node:os";
import { parsePlatform } from "@ashlar/core/formats/oci";
import { inlineBlockHasher } from "@ashlar/core/hash";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes } from "@ashlar/core/node";
import { inspect } from "@ashlar/core/ops/inspect";
import type { InspectFlags } from "../commands/inspect.ts";
import { branchLines, inspectionTree } from "../output/inspect.ts";
import { inputRegistries } from "./registries.ts";
import { inSession } from "./session.ts";
import { releaseAccess } from "./stored-releases.ts";

export const INSPECT_SCHEMA = "ashlar.inspect/v1";

export function runInspect(flags: InspectFlags, subject: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    const inspection = await inspect(
      subject,
      {
        hashes: nodeHashes,
        blockHasher: inlineBlockHasher(nodeHashes),
        scratch: fileScratch(tmpdir()),
        files: nodeFiles,
        registries: inputRegistries(flags),
        decompressors: nodeDecompressors,
        releases: releaseAccess(flags, signal),
        reporter,
        signal,
      },
      { platform: flags.platform === undefined ? undefined : parsePlatform(flags.platform), signal },
    );
    if (flags.json) session.printJson({ schema: INSPECT_SCHEMA, subject, ...inspection });
    else for (const line of branchLines(inspectionTree(inspection, subject))) session.print(line);
  });
}
