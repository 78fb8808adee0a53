/** `ashlar channel show` and `check`. */
import process from "node:process";
import { SourceError } from "@ashlar/core/errors";
import { nodeHashes, openFile } from "@ashlar/core/node";
import {
  type ClientState,
  encodeClientState,
  judgeChannel,
  lastRoot,
  MAX_CLIENT_STATE_SIZE,
  openChannel,
  parseClientState,
} from "@ashlar/core/ops/channel";
import { readAll } from "@ashlar/core/source";
import type { CheckFlags, ShowFlags } from "../../commands/channel.ts";
import { EXIT } from "../../exit-codes.ts";
import { printChannel, printCheck } from "../../output/channel.ts";
import { withOutputFile } from "../outputs.ts";
import { Failed, inSession } from "../session.ts";
import { environmentAt, readPin, readVerified, withPlaces } from "./open.ts";

export function runShow(flags: ShowFlags, channel: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, async (open) => {
      const verified = await readVerified(await open(channel), flags.root, session);
      if (flags.saveRoot !== undefined) await writeFile(flags.saveRoot, lastRoot(verified.channel).bytes, false);
      printChannel(session, flags, channel, verified);
    }),
  );
}

async function readState(path: string): Promise<ClientState | undefined> {
  try {
    await using file = await openFile(path);
    return parseClientState(await readAll(file, MAX_CLIENT_STATE_SIZE, path), path);
  } catch (error) {
    if (error instanceof SourceError && error.code === "not-found") return undefined;
    throw error;
  }
}

async function writeFile(path: string, bytes: Uint8Array, overwrite: boolean): Promise<void> {
  await withOutputFile(path, { overwrite }, async (file) => {
    await file.writeAt(0, bytes);
    await file.setSize(bytes.length);
  });
}

const EXIT_OF = { current: EXIT.ok, newer: EXIT.newer, stale: EXIT.stale } as const;

export function runCheck(flags: CheckFlags, channel: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, async (open) => {
      const state = flags.state === undefined ? undefined : await readState(flags.state);
      const pins = flags.root === undefined ? [] : [await readPin(flags.root)];
      const { repository, selector } = await open(channel);
      const trust = { pins, state };
      const environment = environmentAt(Date.now(), Number((flags.notBefore ?? 0n) / 1_000_000n));
      const opened = await openChannel(repository, selector, trust, environment, { signal: session.signal });
      const facts = {
        product: flags.product ?? opened.view.product,
        architecture: flags.architecture ?? ARCHITECTURES[process.arch] ?? process.arch,
        epoch: flags.epoch,
        version: flags.version,
        agentVersion: flags.agentVersion,
        rolloutKey: flags.device,
      };
      const check = judgeChannel(opened, state, facts, nodeHashes);
      if (flags.state !== undefined) await writeFile(flags.state, encodeClientState(check.state), true);
      process.exitCode = EXIT_OF[check.result]; // before a reader of the output may go away
      printCheck(session, flags, channel, check);
      if (EXIT_OF[check.result] !== EXIT.ok) throw new Failed(EXIT_OF[check.result]);
    }),
  );
}

/** Node's names → OCI's, where they differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };
