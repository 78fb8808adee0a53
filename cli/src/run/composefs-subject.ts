/** What the commands of composefs are about: REFs, images, dumps. */
import { PolicyError } from "@ashlar/core/errors";
import type { HashAlgorithm } from "@ashlar/core/hash";
import { nodeFiles, openFile } from "@ashlar/core/node";
import {
  contentsOf,
  readStoredFile,
  readStoredStream,
  type StoredTree,
  storeContents,
  withPreparedInput,
} from "@ashlar/core/ops/composefs";
import { parseReference } from "@ashlar/core/ops/image";
import type { TreeFlags } from "../commands/composefs.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import type { Session } from "./session.ts";
import { blockHasher } from "./tools.ts";

/** A transport in front makes it a reference; everything else is a file. */
export function isReference(text: string): boolean {
  return /^[a-z][a-z-]*:/.test(text);
}

/** Reads and prepares a reference, once for each algorithm that `work` asks for. */
export async function withReference<T>(
  reference: string,
  flags: TreeFlags,
  session: Session,
  work: (store: (algorithm: HashAlgorithm) => Promise<StoredTree>) => Promise<T>,
): Promise<T> {
  await using hasher = blockHasher(flags.workers);
  const environment = { ...inputEnvironment(flags, session), blockHasher: hasher };
  const preparation = flags.bootable ? "boot" : flags.oci ? "oci" : "none";
  const platform = platformOf(flags);
  return await withPreparedInput(
    parseReference(reference),
    environment,
    { platform, preparation },
    async (root, name) => {
      const contents = contentsOf(root);
      return await work(async (algorithm) => {
        await storeContents(contents, algorithm, environment);
        return { name, root };
      });
    },
  );
}

/** Any tree, for commands that only look at it. */
export async function readSubject(text: string, flags: TreeFlags, session: Session): Promise<StoredTree> {
  const algorithm = flags.algorithm ?? (flags.bootable ? "sha512" : "sha256");
  if (isReference(text)) return withReference(text, flags, session, (store) => store(algorithm));
  refusePreparation(text, flags);
  if (text === "-") return readStandardInput(session);
  await using file = await openFile(text);
  return await readStoredFile(file, text);
}

export function refusePreparation(text: string, { oci, bootable }: TreeFlags): void {
  if (oci || bootable)
    throw new PolicyError("composefs-options", `--oci and --bootable are for a REF, and ${text} is none`);
}

async function readStandardInput(session: Session): Promise<StoredTree> {
  const stream = await nodeFiles.openStream("-");
  try {
    return await readStoredStream(stream.chunks({ signal: session.signal }), "standard input");
  } finally {
    await stream.close();
  }
}

/** Without preparations: a file, or the standard input. */
export async function readImageOrDump(path: string, session: Session): Promise<StoredTree> {
  if (path === "-") return readStandardInput(session);
  await using file = await openFile(path);
  return await readStoredFile(file, path);
}
