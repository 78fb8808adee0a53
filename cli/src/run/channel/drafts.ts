/** `ashlar channel sign`, and drafts as files. */

import { PolicyError } from "@ashlar/core/errors";
import { nodeHashes, openFile } from "@ashlar/core/node";
import { tufVerifier } from "@ashlar/core/node/tuf";
import {
  authenticateBase,
  type Draft,
  draftRequirements,
  encodeDraft,
  keyIdOf,
  MAX_DRAFT_SIZE,
  parseDraft,
  signDraft,
} from "@ashlar/core/ops/channel";
import { readAll } from "@ashlar/core/source";
import type { SignFlags } from "../../commands/channel-flags.ts";
import { printDraft } from "../../output/channel.ts";
import { inSession } from "../session.ts";
import { keyReader } from "./keys.ts";
import { readPin, writeBytes } from "./open.ts";

export async function readDraft(path: string): Promise<Draft> {
  await using file = await openFile(path);
  return parseDraft(await readAll(file, MAX_DRAFT_SIZE, path), nodeHashes, path);
}

export function writeDraft(path: string, draft: Draft, { overwrite }: { readonly overwrite: boolean }): Promise<void> {
  return writeBytes(path, encodeDraft(draft), overwrite);
}

export function runSign(flags: SignFlags, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    const signers = await keyReader(flags, session).signers();
    const draft = await readDraft(path);
    if (flags.root !== undefined) authenticateBase(draft, await readPin(flags.root), tufVerifier, nodeHashes);
    const { root, targets } = draftRequirements(draft);
    const asked = new Set([...root, ...targets].flatMap(({ keyIds }) => keyIds));
    for (const { key } of signers) {
      const id = keyIdOf(key, nodeHashes);
      if (!asked.has(id))
        throw new PolicyError("channel-key", `${path}: nobody asks for a signature of key ${id.slice(0, 12)}`);
    }
    const signed = await signDraft(draft, signers, nodeHashes);
    if (signers.length > 0) await writeDraft(path, signed, { overwrite: true });
    printDraft(session, flags, signed, path);
  });
}
