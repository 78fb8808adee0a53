/** `ashlar channel show` and `check`. */
import process from "node:process";
import { nodeHashes } from "@ashlar/core/node";
import { encodeClientState, judgeChannel, lastRoot, openChannel } from "@ashlar/core/ops/channel";
import type { CheckFlags, ShowFlags } from "../../commands/channel-flags.ts";
import { EXIT } from "../../exit-codes.ts";
import { printChannel, printCheck } from "../../output/channel.ts";
import { Failed, inSession } from "../session.ts";
import { environmentAt, readPin, readState, readVerified, withPlaces, writeBytes } from "./open.ts";

export function runShow(flags: ShowFlags, channel: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, session, async (open) => {
      const verified = await readVerified(await open(channel), flags, session);
      if (flags.saveRoot !== undefined) await writeBytes(flags.saveRoot, lastRoot(verified.channel).bytes, false);
      printChannel(session, flags, channel, verified);
    }),
  );
}

const EXIT_OF = { current: EXIT.ok, newer: EXIT.newer, stale: EXIT.stale } as const;

export function runCheck(flags: CheckFlags, channel: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, session, async (open) => {
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
      if (flags.state !== undefined) await writeBytes(flags.state, encodeClientState(check.state), true);
      process.exitCode = EXIT_OF[check.result]; // before a reader of the output may go away
      printCheck(session, flags, channel, check);
      if (EXIT_OF[check.result] !== EXIT.ok) throw new Failed(EXIT_OF[check.result]);
    }),
  );
}

/** Node's names → OCI's, where they differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };
