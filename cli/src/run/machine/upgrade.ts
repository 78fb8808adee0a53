/** `ashlar upgrade` and `switch`. */
import { PolicyError } from "@ashlar/core/errors";
import { type MachineHost, sourceKindOf, switchSource, type UpgradeReport, upgrade } from "@ashlar/core/ops/machine";
import type { OutputFlags } from "../../commands/flags.ts";
import type { SwitchFlags, UpgradeFlags } from "../../commands/machine.ts";
import { EXIT } from "../../exit-codes.ts";
import { upgradeLines } from "../../output/machine.ts";
import { Failed, inSession, type Session } from "../session.ts";
import { blockHasher } from "../workers.ts";
import { agentEnvironment, machineHost } from "./environment.ts";

const SCHEMA = "ashlar.upgrade/v1";

interface ApplyFlags extends OutputFlags {
  readonly apply: boolean;
}

async function finish(host: MachineHost, report: UpgradeReport, flags: ApplyFlags, session: Session): Promise<void> {
  const reboots = flags.apply && report.rebootNeeded;
  if (flags.json) session.printJson({ schema: SCHEMA, ...report, reboots, notes: session.notes });
  else for (const line of upgradeLines(report)) session.print(line);
  if (reboots) await host.reboot();
}

function modeOf({ check, downloadOnly, apply }: UpgradeFlags): "check" | "download" | "stage" {
  if (Number(check) + Number(downloadOnly) + Number(apply) > 1)
    throw new PolicyError("upgrade-options", "--check, --download-only and --apply exclude each other");
  return check ? "check" : downloadOnly ? "download" : "stage";
}

export function runUpgrade(flags: UpgradeFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const host = machineHost();
    await using hasher = blockHasher(flags.workers ?? 0);
    session.leaveBehind("what runs goes on running; the same command goes on where it was");
    const mode = modeOf(flags);
    const environment = await agentEnvironment(flags, hasher, session);
    const report = await upgrade(host, environment, { mode, force: flags.force });
    await finish(host, report, flags, session);
    if (report.result === "stale") throw new Failed(EXIT.stale);
    if (flags.check && report.result === "newer") throw new Failed(EXIT.newer);
  });
}

export function runSwitch(flags: SwitchFlags, reference: string): Promise<void> {
  return inSession(flags, async (session) => {
    const host = machineHost();
    await using hasher = blockHasher(flags.workers ?? 0);
    session.leaveBehind("what runs goes on running; the same command goes on where it was");
    const environment = await agentEnvironment(flags, hasher, session);
    const kind = await sourceKindOf(reference, environment);
    const chosen = { kind, reference, ...(flags.root === undefined ? {} : { root: flags.root }) };
    const report = await switchSource(host, environment, chosen);
    await finish(host, report, flags, session);
  });
}
