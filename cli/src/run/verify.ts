import process from "node:process";
import { nodeHashes, type OpenSource, openFile } from "@ashlar/core/node";
import { MAX_RELEASE_SIZE, parseRelease } from "@ashlar/core/ops/release";
import { type Verification, type VerifyEnvironment, verifyDisk, verifyRelease } from "@ashlar/core/ops/verify";
import { readAll } from "@ashlar/core/source";
import type { ProgressFlags } from "../commands/flags.ts";
import { EXIT } from "../exit-codes.ts";
import { isReleaseFile, openArtifact } from "./images.ts";
import { Failed, inSession } from "./session.ts";
import { blockHasher } from "./tools.ts";

export interface VerifyFlags extends ProgressFlags {
  readonly workers?: number | undefined;
}

/** Artifacts lie beside their release. */
async function verifyBeside(file: OpenSource, path: string, environment: VerifyEnvironment): Promise<Verification> {
  const release = parseRelease(await readAll(file, MAX_RELEASE_SIZE, path), path);
  const opened: OpenSource[] = [];
  try {
    return await verifyRelease(
      release,
      async (name) => {
        const source = await openArtifact(path, name);
        opened.push(source);
        return source;
      },
      environment,
    );
  } finally {
    for (const source of opened) await source.close();
  }
}

export function runVerify(flags: VerifyFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    await using hasher = blockHasher(flags.workers);
    const environment = { hashes: nodeHashes, blockHasher: hasher, reporter: session.reporter, signal: session.signal };
    await using file = await openFile(path);
    const result = (await isReleaseFile(file))
      ? await verifyBeside(file, path, environment)
      : await verifyDisk(file, environment);
    if (!result.ok) process.exitCode = EXIT.IntegrityError; // before a reader of the output may go away
    if (flags.json) session.printJson({ schema: "ashlar.verify/v1", subject: path, ...result });
    else {
      for (const { ok, name, message } of result.checks) session.print(`${ok ? "ok  " : "FAIL"}  ${name}: ${message}`);
      const failed = result.checks.filter(({ ok }) => !ok).length;
      session.print(result.ok ? `${path}: verified` : `${path}: ${failed} of ${result.checks.length} checks failed`);
    }
    if (!result.ok) throw new Failed(EXIT.IntegrityError);
  });
}
