/** What the commands of composefs are about: REFs, images, dumps. */
import { PolicyError } from "@ashlar/core/errors";
import { nodeFiles, openFile } from "@ashlar/core/node";
import { readStoredFile, readStoredStream, type StoredTree } from "@ashlar/core/ops/composefs";
import type { TreeFlags } from "../commands/composefs.ts";
import type { Session } from "./session.ts";

/** A transport in front makes it a reference; everything else is a file. */
export function isReference(text: string): boolean {
  return /^[a-z][a-z-]*:/.test(text);
}

/** Any tree, for commands that only look at it. */
export async function readSubject(text: string, flags: TreeFlags, session: Session): Promise<StoredTree> {
  const algorithm = flags.algorithm ?? (flags.bootable ? "sha512" : "sha256");
  if (isReference(text)) {
    const { withReference } = await import("./composefs-reference.ts");
    return withReference(text, flags, session, (store) => store(algorithm));
  }
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
