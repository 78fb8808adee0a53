/** `ashlar etc diff` and `reset`. */
import { PolicyError } from "@ashlar/core/errors";
import { resetEtc } from "@ashlar/core/node/machine";
import {
  type CarriedRecord,
  changesButIdentity,
  describeConflict,
  type EtcChange,
  etcChanges,
  pathInEtc,
  planReset,
  selectChanges,
  shownPath,
} from "@ashlar/core/ops/etc";
import { type LocalEtc, type MachineHost, withLocalEtc } from "@ashlar/core/ops/machine";
import { getNode } from "@ashlar/core/tree";
import type { EtcDiffFlags, EtcResetFlags } from "../../commands/etc.ts";
import { EXIT } from "../../exit-codes.ts";
import { Failed, inSession, type Session } from "../session.ts";
import { blockHasher } from "../workers.ts";
import { machineHost } from "./environment.ts";

const SIGNS = { added: "+", removed: "-", changed: "~" } as const;

function lineOf({ kind, path, aspects, local, sealed }: EtcChange): string {
  const slash = (local ?? sealed)?.type === "directory" ? "/" : "";
  const what = aspects.length === 0 ? "" : `  ${aspects.join(", ")}`;
  return `${SIGNS[kind]} ${shownPath(path)}${slash}${what}`;
}

const forJson = (changes: readonly EtcChange[]) =>
  changes.map(({ kind, path, aspects }) => ({ path: shownPath(path), change: kind, aspects }));

async function selected(
  { sealed, local }: LocalEtc,
  paths: readonly string[],
  { signal }: Session,
): Promise<readonly EtcChange[]> {
  const changes = await etcChanges(sealed, local, { signal });
  const exists = (path: string) => getNode(sealed, path) !== undefined || getNode(local, path) !== undefined;
  return paths.length === 0 ? changes : selectChanges(changes, paths.map(pathInEtc), exists);
}

/** What was contested when the layer was made; it may have been mended since. */
function carriedLines(carried: CarriedRecord | undefined): string[] {
  if (carried === undefined) return [];
  const found = [...carried.clashes, ...carried.conflicts, ...carried.remarks];
  return found.length === 0
    ? []
    : [`found by the update of ${carried.at}:`, ...found.map((one) => `  ${describeConflict(one)}`)];
}

export function runEtcDiff(flags: EtcDiffFlags, ...paths: string[]): Promise<void> {
  return inSession(flags, async (session) => {
    await using hasher = blockHasher(undefined);
    const environment = { blockHasher: hasher, signal: session.signal };
    const count = await withLocalEtc(machineHost(), environment, async (etc) => {
      const changes = await selected(etc, paths, session);
      const { rootHash, carried } = etc;
      if (flags.json)
        session.printJson({
          schema: "ashlar.etc-diff/v1",
          rootHash,
          changes: forJson(changes),
          carried: carried ?? null,
        });
      else {
        for (const change of changes) session.print(lineOf(change));
        if (paths.length === 0) for (const line of carriedLines(carried)) session.print(line);
      }
      return changes.length;
    });
    if (flags.exitCode && count > 0) throw new Failed(EXIT.different);
  });
}

export function runEtcReset(flags: EtcResetFlags, ...paths: string[]): Promise<void> {
  return inSession(flags, async (session) => {
    if (flags.all === paths.length > 0)
      throw new PolicyError("nothing-chosen", "say which paths below /etc are to be reset, or --all");
    await using hasher = blockHasher(undefined);
    const host = machineHost();
    const environment = { blockHasher: hasher, signal: session.signal };
    const lock = await lockUnless(flags.dryRun, host);
    try {
      await withLocalEtc(host, environment, async (etc) => {
        const found = await selected(etc, paths, session);
        const changes = flags.all ? changesButIdentity(found) : found;
        if (!flags.dryRun) {
          session.leaveBehind("what was restored until then is the image's, the rest as it was");
          await resetEtc("/etc", planReset(changes));
        }
        const result = { schema: "ashlar.etc-reset/v1", rootHash: etc.rootHash, done: !flags.dryRun };
        if (flags.json) session.printJson({ ...result, changes: forJson(changes) });
        else for (const change of changes) session.print(lineOf(change));
      });
    } finally {
      await lock?.release();
    }
  });
}

const lockUnless = async (isDry: boolean, host: MachineHost) => (isDry ? undefined : host.lock("etc reset"));
